"""Headless Chromium over its debugging pipe: no port, no driver, no other package."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 60.0
PHONE, DESKTOP = (375, 812), (1280, 800)


def find_browser() -> str | None:
    """$CHROMIUM, or the first that is on the PATH."""
    return next(
        (found for name in (os.environ.get("CHROMIUM"), *NAMES) if name and (found := shutil.which(name))),
        None,
    )


class Tab:
    """A page at a window size and colour scheme. `requests` are the URLs it asked for, data URIs left out."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session)

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, whole: bool = False) -> bytes:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        return base64.b64decode(data)

    def note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        if method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])


class Browser:
    """One browser process; commands go in on its descriptor 3 and answers come out on 4, ended by NUL."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += ["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]
        command += ["--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"]
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers, self._buffer = itertools.count(1), b""
        self._tabs: dict[str, Tab] = {}

    @contextlib.contextmanager
    def open(self, page: Path | str, size: tuple[int, int], scheme: str = "light") -> Iterator[Tab]:
        """A file or URL as a phone or a desktop shows it, once all of it is loaded and decoded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Network", "Log", "Runtime"):
            tab.call(f"{domain}.enable")
        width, height = size
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        tab.call("Emulation.setEmulatedMedia", features=media)
        tab.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        self._wait_for(tab)
        try:
            yield tab
        finally:
            self.call("Target.closeTarget", {"targetId": target})

    def call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("sessionId") in self._tabs:
                self._tabs[answer["sessionId"]].note(answer)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)

    def _wait_for(self, tab: Tab) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not tab.evaluate("location.protocol != 'about:' && document.readyState == 'complete'"):
            assert time.monotonic() < deadline, "the page did not load"
            time.sleep(0.02)
        tab.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT_S)
            data = os.read(self._read, 1 << 16) if ready else b""
            assert data, "the browser does not answer"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
