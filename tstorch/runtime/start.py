"""A worker that starts, and opens its device, while the session compiles."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from tstorch.runtime.client import Isolation, Worker


class WorkerStart:
    """Starts a worker at once. Left with an error, it closes the worker; else the worker is the caller's."""

    def __init__(self, adapter: str | None, isolation: Isolation) -> None:
        self.waited_ms = 0.0
        self._pool = ThreadPoolExecutor(1, "worker-start")
        self._worker = self._pool.submit(Worker.start, adapter, isolation)
        self._opened: Future[None] | None = None
        if isolation == "none":  # everything would wait for the same interpreter
            self._wait(self._worker)

    def device_class(self) -> str:
        """The class of the adapter, once the worker has found it. Raises RunError."""
        self._wait(self._worker)
        return self._worker.result().adapter_info()["class"]

    def open(self, target: Mapping[str, Any]) -> None:
        """Has the worker open a device with the limits of a target (as in a manifest), and test it."""
        self._opened = self._pool.submit(lambda: self._worker.result().open(target))

    def ready(self) -> Worker:
        """The worker, once it has done all that. Raises RunError."""
        self._wait(self._worker)
        if self._opened is not None:
            self._wait(self._opened)
        return self._worker.result()

    def _wait(self, future: Future) -> None:
        """Waits, and counts for how long: what of the start does not happen behind something else."""
        begin = time.perf_counter()
        try:
            future.result()
        finally:
            self.waited_ms += 1e3 * (time.perf_counter() - begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown()
        if error is not None and self._worker.exception() is None:
            self._worker.result().close()
