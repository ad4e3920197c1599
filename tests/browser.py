"""A real browser for tests: Chromium, headless, driven over the pipe of its DevTools protocol."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 30.0  # seconds


class Browser:
    """One page of a browser of its own."""

    def __init__(self, profile: Path) -> None:
        found = next((path for name in NAMES if (path := shutil.which(name))), None)
        if found is None:
            pytest.skip("NOTHING WAS TRIED IN A BROWSER: there is no chromium on the PATH")
        (its_in, self._out), (self._in, its_out) = os.pipe(), os.pipe()
        words = [
            *(found, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--remote-debugging-pipe", "--disable-extensions", "--disable-dev-shm-usage"),
            *("--no-proxy-server", "--disable-background-networking", f"--user-data-dir={profile}"),
        ]
        self._child = subprocess.Popen(
            [sys.executable, "-c", _BECOME, str(its_in), str(its_out), *words],
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(its_in)
        os.close(its_out)
        self._number, self._rest, self._session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: object) -> Any:
        """Return what the browser answers to one command."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            *messages, self._rest = self._rest.split(b"\0")
            for one in map(json.loads, messages):
                if one.get("id") == self._number:
                    assert "error" not in one, one
                    return one["result"]
            left = deadline - time.monotonic()
            assert left > 0, f"the browser does not answer to {method}"
            if select.select([self._in], [], [], left)[0]:
                self._rest += os.read(self._in, 1 << 20)

    def open(self, url: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=url)

    def evaluate(self, text: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Give the page that size and scheme of colours."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path) -> None:
        """Write what the page looks like, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)[
            "data"
        ]
        file.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser with all that belongs to it: it leads its own process group."""
        with contextlib.suppress(OSError):
            self.call("Browser.close") if self._session is None else None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, 9)
        self._child.wait()
        os.close(self._in)
        os.close(self._out)


# Its pipe is descriptors 3 and 4, whatever they are here.
_BECOME = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
