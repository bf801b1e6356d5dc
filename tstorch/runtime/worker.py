"""The worker process: `python -m tstorch.runtime.worker`, requests on standard input, replies on standard output."""

import argparse
import contextlib
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

_STARTED = time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves one session until it closes its end."""
    parser = argparse.ArgumentParser(prog="tstorch.runtime.worker", description=__doc__)
    parser.add_argument("--adapter", help="part of the name, driver or backend of the GPU to use")
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # Libraries print what they like: standard output stays for messages alone.
    stream = os.fdopen(os.dup(1), "wb", buffering=0)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for end in (stream, requests):
            msvcrt.setmode(end.fileno(), os.O_BINARY)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the session decides what Ctrl-C ends
    return _serve(options, requests, stream)


def _serve(options: argparse.Namespace, requests: io.FileIO, stream: io.FileIO) -> int:
    from tstorch.diagnostics import DiagnosticError
    from tstorch.runtime.faults import InjectedFault
    from tstorch.runtime.service import Service
    from tstorch.runtime.shared import SharedBlock
    from tstorch.runtime.wire import WireError, receive, send

    import_ms = 1e3 * (time.perf_counter() - _STARTED)
    service: Service | None = None
    blocks: dict[str, SharedBlock] = {}

    def progress(stage: str, done: int, total: int) -> None:
        send(stream, {"progress": [stage, done, total]}, {})

    while True:
        try:
            header, arrays = receive(requests, blocks)
        except WireError:
            return 0
        if header.get("request") == "share":  # of the transport, not of the service
            opened = SharedBlock.open(header["path"])
            blocks = {name: blocks[name] for name in header["keep"]}
            blocks |= {opened.name: opened} if opened else {}
            send(stream, {"shared": opened is not None}, {})
            continue
        block = blocks.get(header.pop("block", ""))
        received = time.perf_counter_ns()
        try:
            if service is None:
                fault = InjectedFault.parse(options.fault) if options.fault else None
                service = Service(options.adapter, fault)
            reply, results = service.handle(header, arrays, progress)
            reply = {"import_ms": import_ms, **reply}
        except DiagnosticError as error:
            reply, results = {"error": str(error)}, {}
        except Exception:
            # Every other failure is a bug of ours: it travels whole, and the session reports it as one.
            reply, results = {"bug": traceback.format_exc()}, {}
        times = {"received_ns": received, "replied_ns": time.perf_counter_ns()}
        send(stream, {**times, **reply}, results, block)
        if service is not None:
            service.answered()


if __name__ == "__main__":
    sys.exit(main())
