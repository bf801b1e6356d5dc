"""How a session reaches its worker: a process of its own, which may die, or the caller's process, which must not."""

import collections
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tstorch.diagnostics import RunError
from tstorch.runtime.faults import Faults
from tstorch.runtime.shared import LENT_BYTES, MOST_BLOCKS, SharedBlock
from tstorch.runtime.wire import Arrays, Header, Progress, WireError, receive, send

_PIPE_BYTES = 1 << 20
_LAST_WORDS = 12  # lines of the worker's standard error that a message quotes at most


class WorkerDied(Exception):
    """The worker ended or fell silent in the middle of a request: what happened, in words."""


class WorkerBug(Exception):
    """The worker failed in a way that no user can cause: its traceback."""


class Connection(Protocol):
    """Carries requests to a service and its replies back."""

    def request(self, header: Header, arrays: Arrays, progress: Progress) -> tuple[Header, dict[str, Any]]:
        """Sends one request and waits. Raises RunError (as the worker words it), WorkerDied or WorkerBug."""
        ...

    def close(self) -> None:
        """Ends the worker."""
        ...


class LocalConnection:
    """The service in the caller's process: no isolation, no transport."""

    def __init__(self, adapter: str | None, faults: Faults | None) -> None:
        begin = time.perf_counter()
        from tstorch.runtime.service import Service  # imports wgpu, which only this isolation wants here

        self._import_ms = 1e3 * (time.perf_counter() - begin)
        self._service = Service(adapter, faults)

    def request(self, header: Header, arrays: Arrays, progress: Progress) -> tuple[Header, dict[str, Any]]:
        """Answers at once. Raises DiagnosticError."""
        received = time.perf_counter_ns()
        reply, results = self._service.handle(header, arrays, progress)
        times = {"received_ns": received, "replied_ns": time.perf_counter_ns(), "import_ms": self._import_ms}
        kept = {name: array if array.flags.owndata else array.copy() for name, array in results.items()}
        self._service.answered()
        return {**times, **reply}, kept

    def close(self) -> None:
        """Nothing runs on."""


class ProcessConnection:
    """A worker process: killed when it is silent for `timeout` seconds, quoted when it dies."""

    def __init__(self, adapter: str | None, timeout: float, fault: str | None = None) -> None:
        command: Sequence[str] = [sys.executable, "-m", "tstorch.runtime.worker"]
        command = [*command, *(["--adapter", adapter] if adapter else []), *(["--fault", fault] if fault else [])]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._timeout = timeout
        self._deadline = float("inf")
        self._silent = False
        self._blocks: dict[str, SharedBlock] = {}
        self._shares = True
        self._largest_reply = 0
        self._last_words: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
        for pipe_end in (self._process.stdin, self._process.stdout):
            _widen(pipe_end)
        self._reader = threading.Thread(target=self._listen, name="worker-stderr", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name="worker-watchdog", daemon=True).start()

    def request(self, header: Header, arrays: Arrays, progress: Progress) -> tuple[Header, dict[str, Any]]:
        """Sends one request and waits for its reply; each sign of progress starts the timeout anew."""
        try:
            block = self._share([array.nbytes for array in arrays.values()])
            reply, results = self._exchange(header, arrays, progress, block)
        except (OSError, WireError) as error:
            raise WorkerDied(self._obituary(header)) from error
        except BaseException:  # Ctrl-C in the middle: what comes next on the pipe belongs to nobody
            self._process.kill()
            raise
        finally:
            self._deadline = float("inf")
        if "error" in reply:
            raise RunError(reply["error"])
        if "bug" in reply:
            raise WorkerBug(reply["bug"])
        return reply, results

    def _exchange(
        self, header: Header, arrays: Arrays, progress: Progress, block: SharedBlock | None
    ) -> tuple[Header, dict[str, Any]]:
        self._deadline = time.monotonic() + self._timeout
        send(self._process.stdin, header, arrays, block)  # type: ignore[arg-type]
        while True:
            reply, results = receive(self._process.stdout, self._blocks)  # type: ignore[arg-type]
            if "progress" not in reply:
                break
            self._deadline = time.monotonic() + self._timeout
            progress(*reply["progress"])
        sizes = [array.nbytes for array in results.values()]
        self._largest_reply = max(self._largest_reply, SharedBlock.needed(sizes))
        return reply, self._kept(results, block)

    def _kept(self, results: dict[str, Any], block: SharedBlock | None) -> dict[str, Any]:
        """Results as the caller may keep them: a block is overwritten by a later message, unless it is lent."""
        others = [each for each in self._blocks.values() if each is not block]
        spare = len(self._blocks) < MOST_BLOCKS or any(each.is_free for each in others)
        kept: dict[str, Any] = {}
        for name, array in results.items():
            lent = spare and block is not None and not array.flags.owndata and array.nbytes >= LENT_BYTES
            if lent and block is not None:
                block.lend(array)
            kept[name] = array if lent or array.flags.owndata else array.copy()
        return kept

    def _share(self, sizes: list[int]) -> SharedBlock | None:
        """Memory large enough for arrays of these sizes and the largest reply so far, which nobody keeps."""
        needed = max(SharedBlock.needed(sizes), self._largest_reply)
        if not self._shares or needed == 0:
            return None
        free = [block for block in self._blocks.values() if block.is_free]
        if (block := next((each for each in free if each.bytes >= needed), None)) is not None:
            return block
        self._blocks = {name: block for name, block in self._blocks.items() if block not in free}
        return self._new_block(needed)

    def _new_block(self, needed: int) -> SharedBlock | None:
        """A block that the worker has opened too; None, now and from now on, where that is not possible."""
        if (block := SharedBlock.create(needed)) is None:
            self._shares = False
            return None
        kept = list(self._blocks)
        request = {"request": "share", "path": str(block.path), "keep": kept}
        reply, _ = self._exchange(request, {}, lambda *_: None, None)
        block.unlink()
        self._shares = reply["shared"]
        if not self._shares:
            return None
        self._blocks[block.name] = block
        return block

    def close(self) -> None:
        """Closes the pipes; a worker that does not end by itself is killed."""
        for end in (self._process.stdin, self._process.stdout):
            if end:
                end.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=5)
        if self._process.stderr:
            self._process.stderr.close()

    def _listen(self) -> None:
        """Keeps the end of what the worker prints: drivers and Rust say there why they die."""
        for line in self._process.stderr or ():
            if text := line.decode("utf-8", "replace").strip():
                self._last_words.append(text)

    def _watch(self) -> None:
        """Kills a worker that has been silent for too long: a GPU that hangs never answers."""
        while self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self._silent = True
                self._process.kill()
            time.sleep(min(0.25, self._timeout / 4))

    def _obituary(self, header: Header) -> str:
        self._process.kill()
        code = self._process.wait()
        self._reader.join(timeout=5)
        what = f"'{header['request']}'" + (f" of entry '{header['entry']}'" if "entry" in header else "")
        if self._silent:
            return f"the GPU worker was silent for {self._timeout:g} s during {what} and was ended: the GPU hangs"
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        words = "; its last words: " + " | ".join(self._last_words) if self._last_words else ""
        return f"the GPU worker died ({cause}) during {what}{words}"


def _widen(pipe: Any) -> None:
    """Makes a pipe hold a whole input where the system lets us: fewer wake-ups for each message."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            return  # an unprivileged user may have used up the system's allowance: slower, not wrong
