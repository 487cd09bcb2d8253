"""A real browser, headless Chromium, steered over a pipe by its DevTools protocol. Every wait is bounded."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.wire.peers import until

PATIENCE = 20.0
"""Seconds that a command may take: a browser is slow to start."""


def chromium() -> str:
    """Where it is; without one the test is skipped, and fails where all tools must be."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("there is no chromium")
    return str(found)


class Browser:
    """One page of a browser of its own. `names` are host names that it takes for 127.0.0.1."""

    def __init__(self, *names: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="browser-"))
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        rules = ",".join(f"MAP {name} 127.0.0.1" for name in names)
        command = [
            chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", f"--user-data-dir={self._folder}", "--remote-debugging-pipe",
            f"--host-resolver-rules={rules}", "about:blank",
        ]  # fmt: skip

        def at_their_numbers() -> None:
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self._process = subprocess.Popen(
            command, preexec_fn=at_their_numbers, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._received = b""
        self._number = 0
        self._session: str | None = None
        targets = self.do("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.do("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.do("Emulation.setFocusEmulationEnabled", enabled=True)  # as a window in front of others has it

    def do(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while (message := self._message(end)).get("id") != self._number:
            pass
        assert "error" not in message, (method, message)
        return message["result"]

    def _message(self, end: float) -> Any:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser does not answer within {PATIENCE:g} s"
            data = os.read(self._from, 65536)
            assert data, "the browser has ended"
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        """Go to `url` and wait until it is loaded."""
        assert "errorText" not in (went := self.do("Page.navigate", url=url)), went
        until(lambda: self.run("document.readyState") == "complete", f"{url} is loaded", PATIENCE)

    def run(self, script: str) -> Any:
        """The value of `script` in the page, a promise's if it is one; AssertionError for what it throws."""
        done = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def shows(self, words: str) -> None:
        """Wait until the page, or the one that comes after it, shows `words`."""

        script = f"Boolean(document.body) && document.body.innerText.includes({json.dumps(words)})"
        self._comes_to_be(script, f"the page shows {words!r}")

    def focused(self, identity: str) -> None:
        """Wait until the element of that id has the keyboard."""
        script = f"document.hasFocus() && document.activeElement?.id === {json.dumps(identity)}"
        self._comes_to_be(script, f"{identity} has the keyboard")

    def _comes_to_be(self, script: str, what: str) -> None:
        def there() -> bool:
            with contextlib.suppress(AssertionError):  # it is just on its way from one page to the next
                return bool(self.run(script))
            return False

        until(there, lambda: f"{what}: {self.run('document.body.innerText')}", PATIENCE)

    def press(self, key: str) -> None:
        """Press a key, such as ``"Tab"``, ``"Enter"`` or a letter."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9}.get(key, 0)
        self.do("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
        self.do("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)
