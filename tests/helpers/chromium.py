"""A headless Chromium that opens pages and is asked what they hold, by its own protocol over two pipes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
WATCHED = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Network.requestWillBeSent")


class Page:
    """One open page. `events` are all that was told of it since it was opened."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer, self._rest, self._last = reader, writer, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """What a command answers."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Opens a file and waits until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is, as JSON; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def watched(self) -> list[dict[str, Any]]:
        """What it printed, threw or asked the network for, its own file apart."""
        found = [event for event in self.events if event.get("method") in WATCHED]
        return [event for event in found if not _own(event["params"])]

    def screenshot(self, path: Path) -> None:
        """Writes the whole page as a PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            got = os.read(self._reader, 1 << 20)
            assert got, "Chromium ended"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


def _own(params: dict[str, Any]) -> bool:
    url = params.get("request", {}).get("url", "")
    return url.startswith(("file:", "data:", "blob:"))


def command(profile: str) -> list[str]:
    """Chromium with a profile of its own."""
    return ["chromium", *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]


def _pipe() -> tuple[int, int]:
    """Two ends above the descriptors that Chromium uses."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    return high[0], high[1]


@contextmanager
def chromium() -> Iterator[Page]:
    """A page in a browser of its own, which ends with the block."""
    with TemporaryDirectory(prefix="tstorch-chromium-", ignore_cleanup_errors=True) as profile:
        (to_read, to_write), (from_read, from_write) = _pipe(), _pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        become = (
            f"import os; os.dup2({to_read}, 3); os.dup2({from_write}, 4); os.execvp('chromium', {command(profile)})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", become],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            yield Page(from_read, to_write)
        finally:
            os.close(to_write)
            os.close(from_read)
            process.terminate()
            process.wait()
