"""The session's end: starts a worker, loads an artifact into it, runs it, and starts another one when it dies."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.connection import Connection, LocalConnection, ProcessConnection, WorkerDied
from tstorch.runtime.wire import PROTOCOL, Arrays, Header, Kind, Progress

Isolation = Literal["process", "none"]


@dataclass(frozen=True)
class Measured:
    """One run as its caller saw it: outputs by name, `whole` and `handoff` in nanoseconds, the worker's own `spans`
    (nanoseconds by part), and what its timestamps say (docs/profile.md).

    Of a program: `looks`, its synchronisations (`tensors`, `bytes`, `cause`, `gap`), and `compile_ns`, how long the run
    waited for segments that were compiled for it (`whole_ns` holds that too).
    """

    outputs: dict[str, np.ndarray]
    whole_ns: int
    handoff_ns: int
    spans: dict[str, int]
    timed: dict[str, Any] | None
    looks: tuple[dict[str, Any], ...] = ()
    compile_ns: int = 0


class Specialised(Protocol):
    """A segment that was compiled for a run: its number, its artifact, and where its weights lie."""

    @property
    def number(self) -> int: ...

    @property
    def artifact(self) -> Path: ...

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]: ...


Specialise = Callable[[Mapping[str, Any]], Specialised]
"""Compiles what a run needs (`Need.to_json`). Raises DiagnosticError."""


def _refuse(need: Mapping[str, Any]) -> Specialised:
    shapes = ", ".join(f"{value['dtype']}{value['shape']}" for value in need["inputs"])
    raise RunError(
        f"segment '{need['segment']}' was not compiled for {shapes}, and an artifact has no compiler at hand; "
        "run the model that it was compiled from"
    )


@dataclass(frozen=True)
class LoadReport:
    """Milliseconds of loading: `stages` on the critical path, `busy` each stage's own time."""

    stages: dict[str, float]
    busy: dict[str, float]
    total: float
    uploaded_bytes: int


def _no_progress(stage: str, done: int, total: int) -> None:
    pass


class Worker:
    """One worker. Every method raises RunError with one message for whatever goes wrong there.

    A worker that dies is replaced on the next call, with its artifact loaded anew; only state on the GPU is lost then,
    which that call says instead of going on.
    """

    def __init__(self, connect: Callable[[], Connection], reconnect: Callable[[], Connection]) -> None:
        self._reconnect = reconnect
        self._connection: Connection | None = None
        self._loaded: tuple[str, dict[str, dict[str, Any]]] | None = None
        self._has_state = self._lost_state = False
        self._specialise: Specialise = _refuse
        self.startup_ms: dict[str, float] = {}
        self._open(connect)

    @classmethod
    def start(
        cls,
        adapter: str | None = None,
        isolation: Isolation = "process",
        *,
        timeout: float = 300.0,
        fault: Any = None,
    ) -> Self:
        """Starts a worker on the adapter that matches (discrete, integrated, CPU, in that order, by default).

        `timeout` is how many seconds it may be silent. `isolation="none"` runs in this process: some errors of the
        driver then end it. `fault` is for tests: the text of tstorch/runtime/faults.py, or an object of its kind.
        """
        if isolation == "none":
            return cls(lambda: LocalConnection(adapter, fault), lambda: LocalConnection(adapter, None))
        return cls(
            lambda: ProcessConnection(adapter, timeout, fault), lambda: ProcessConnection(adapter, timeout, None)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def adapter_info(self) -> dict[str, Any]:
        """Name, backend, driver, class, features and limits of the adapter, and the labels of the others."""
        return self._adapter

    def open(self, target: Mapping[str, Any]) -> None:
        """Opens and tests a device for a target (as in a manifest) ahead of `load`, which then need not."""
        self._request({"request": "open", "target": dict(target)}, {})

    def load(
        self,
        artifact: str | Path,
        sources: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Progress = _no_progress,
        specialise: Specialise = _refuse,
    ) -> LoadReport:
        """Loads the artifact at that path. `sources` says where weights lie: digest to {path, offset, bytes}.

        `specialise` compiles segments whose shapes only a run tells; without it such a run is refused.
        """
        self._loaded, self._has_state, self._lost_state = None, False, False
        path = str(Path(artifact).resolve())
        found = _travelling(sources or {})
        reply, _ = self._request({"request": "load", "artifact": path, "sources": found}, {}, progress)
        self._loaded, self._specialise = (path, found), specialise
        self._has_state = reply["has_state"]
        self.loop_cap, self.limits = reply["loop_cap"], reply["limits"]
        return LoadReport(**reply["report"])

    def run(self, inputs: Arrays, entry: str = "run", outputs: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Runs an entry; gives its outputs by name (all, or those asked for)."""
        return self.measure(inputs, entry, outputs).outputs

    def measure(
        self, inputs: Arrays, entry: str = "run", outputs: Iterable[str] | None = None, kind: Kind = "plain"
    ) -> Measured:
        """Runs an entry once, as one of the three kinds of run, and says where the time went."""
        begin = time.perf_counter_ns()
        wanted = None if outputs is None else list(outputs)
        header = {"request": "run", "entry": entry, "outputs": wanted, "kind": kind}
        reply, results = self._request(header, inputs)
        busy, compiled = reply["replied_ns"] - reply["received_ns"], 0
        while "need" in reply:
            asked = time.perf_counter_ns()
            made = self._specialise(reply["need"])
            compiled += time.perf_counter_ns() - asked
            path, sources = str(made.artifact.resolve()), _travelling(made.sources)
            header = {"request": "resume", "number": made.number, "artifact": path, "sources": sources}
            reply, results = self._request(header, {})
            busy += reply["replied_ns"] - reply["received_ns"]
        whole = time.perf_counter_ns() - begin
        return Measured(
            results, whole, whole - busy - compiled, reply["spans"], reply["timed"], tuple(reply["looks"]), compiled
        )

    def measure_stepwise(self, inputs: Arrays, entry: str = "run") -> list[tuple[int, int]]:
        """Runs an entry one dispatch at a time: (id, wall nanoseconds) each. For GPUs without a clock."""
        reply, _ = self._request({"request": "stepwise", "entry": entry}, inputs)
        return [(ident, wall) for ident, wall in reply["dispatches"]]

    def instrument(self, name: str, **options: Any) -> float:
        """One reading of an instrument in nanoseconds: warm (seconds), sentinel, launch, tiny."""
        return self._request({"request": "instrument", "name": name, **options}, {})[0]["ns"]

    def tiny(self) -> tuple[float, float]:
        """What timing adds to a kernel that does nothing, and what that kernel takes in a chain; nanoseconds."""
        reply, _ = self._request({"request": "instrument", "name": "tiny"}, {})
        return reply["ns"], reply["alone_ns"]

    def ceilings(self, cache: str | Path | None = None, *, again: bool = False) -> dict[str, Any]:
        """What this adapter can do at most (docs/profile.md), kept in `cache` (the user's by default).

        `again` measures once more: the faster of each two figures stays.
        """
        where = str(cache) if cache else None
        header = {"request": "instrument", "name": "ceilings", "cache": where, "again": again}
        return self._request(header, {})[0]["ceilings"]

    def facts(self, *, events: bool = False) -> dict[str, Any]:
        """Clock quality, memory, dispatches submitted so far, the driver's loop cap, the artifact's fingerprint.

        With `events`, also every buffer that was made or given back.
        """
        reply, _ = self._request({"request": "facts", "events": events}, {})
        names = ("clock", "memory", "allocations", "submitted", "loop_cap", "fingerprint", "dispatches")
        return {key: reply[key] for key in names}

    def profile(self, inputs: Arrays, **options: Any) -> dict[str, Any]:
        """Measures an entry as docs/profile.md describes; options as for `tstorch.runtime.profiler`."""
        from tstorch.runtime.profiler import profile

        return profile(self, inputs, **options)

    def read_state(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Copies of states as they stand on the GPU."""
        return self._request({"request": "read_state", "names": list(names)}, {})[1]

    def write_state(self, values: Arrays) -> None:
        """Replaces states on the GPU."""
        self._request({"request": "write_state"}, values)

    def close(self) -> None:
        """Ends the worker."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ----

    def _open(self, connect: Callable[[], Connection]) -> None:
        begin = time.perf_counter()
        self._connection = connect()
        try:
            reply, _ = self._request({"request": "hello", "protocol": PROTOCOL}, {})
        except RunError:
            self.close()
            raise
        whole = 1e3 * (time.perf_counter() - begin)
        self._adapter = reply["adapter"]
        parts = {"import": reply["import_ms"], "adapter": reply["adapter_ms"]}
        self.startup_ms = {**parts, "spawn": whole - sum(parts.values()), "total": whole}

    def _request(
        self, header: Header, arrays: Arrays, progress: Progress = _no_progress
    ) -> tuple[Header, dict[str, np.ndarray]]:
        if self._connection is None:
            self._replace()
        assert self._connection is not None
        try:
            return self._connection.request(header, arrays, progress)
        except WorkerDied as death:
            self.close()
            self._lost_state = self._has_state
            raise RunError(f"{death}; the next run starts a new worker") from death

    def _replace(self) -> None:
        """A new worker in place of a dead one, with the same artifact."""
        if self._lost_state:
            raise RunError("the state on the GPU was lost with the worker; load the artifact again to start anew")
        self._open(self._reconnect)
        if self._loaded is not None:
            self.load(*self._loaded, specialise=self._specialise)


def _travelling(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Where weights lie, as JSON can say it."""
    return {digest: {**source, "path": str(source["path"])} for digest, source in sources.items()}
