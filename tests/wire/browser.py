"""A real Chromium without a window, and a page in it as its reader knows it: what stands there, keys and clicks.

Whatever is looked for is waited for, within bounds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.wire.peers import PATIENCE, tool, until

PROGRAMS = ("chromium", "chromedriver")
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1440,1100", "--lang=en",
)  # fmt: skip


@contextlib.contextmanager
def chromium(directory: Path, *names: str) -> Iterator[Chrome]:
    """A browser with its profile in `directory`; without one the test is skipped; under CI=true it fails.

    `names` are host names that it takes for 127.0.0.1.
    """
    paths = {name: tool(name, "apt-get install chromium chromium-driver") for name in PROGRAMS}
    options = ChromeOptions()
    options.binary_location = paths["chromium"]
    options.page_load_strategy = "eager"
    rules = ",".join(f"MAP {name} 127.0.0.1" for name in names)
    for argument in (*ARGUMENTS, f"--user-data-dir={directory}", f"--host-resolver-rules={rules}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(paths["chromedriver"]))
    try:
        browser.set_page_load_timeout(PATIENCE)
        browser.set_script_timeout(PATIENCE)
        yield browser
    finally:
        browser.quit()


class Page:
    """The live page of the admin listener at `port`."""

    def __init__(self, browser: Chrome, port: int, path: str = "/status") -> None:
        self.browser = browser
        self.url = f"http://127.0.0.1:{port}{path}"
        self.forget_worries()
        browser.get(self.url)

    def live(self) -> Page:
        """Once it is."""
        self.shows("#connection", "live")
        return self

    def find(self, css: str) -> Any:
        """The first element of that kind, once there is one that is seen."""
        return until(lambda: self._seen(css), lambda: f"{css} is seen")

    def _seen(self, css: str) -> Any:
        with contextlib.suppress(NoSuchElementException, StaleElementReferenceException):
            element = self.browser.find_element(By.CSS_SELECTOR, css)
            return element if element.is_displayed() else None
        return None

    def text(self, css: str) -> str:
        """What stands there."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css)).strip()

    def texts(self, css: str) -> list[str]:
        """What stands in each of them."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.trim())"
        return list(self.run(script, css))

    def attribute(self, css: str, name: str) -> str:
        """An attribute of the first of them."""
        return str(self.run("return document.querySelector(arguments[0])?.getAttribute(arguments[1])", css, name))

    def count(self, css: str) -> int:
        """How many there are."""
        return int(self.run("return document.querySelectorAll(arguments[0]).length", css))

    def run(self, script: str, *arguments: Any) -> Any:
        """What `script` gives."""
        return self.browser.execute_script(script, *arguments)  # type: ignore[no-untyped-call]

    def shows(self, css: str, words: str, patience: float = PATIENCE) -> None:
        """Wait until `words` stand there."""
        until(lambda: words in self.text(css), lambda: f"{css} shows {words!r}, not {self.text(css)!r}", patience)

    def rows(self, count: int) -> None:
        """Wait until so many parked requests are in the document."""
        until(lambda: self.count("#rows tr") == count, lambda: f"{count} rows, not {self.count('#rows tr')}")

    def click(self, css: str) -> None:
        """Click it, once it can be."""

        def clicked() -> bool:
            with contextlib.suppress(WebDriverException):
                self.browser.find_element(By.CSS_SELECTOR, css).click()
                return True
            return False

        until(clicked, lambda: f"{css} is clicked")

    def fill(self, css: str, words: str) -> None:
        """Type `words` in place of what stands in a field."""
        field = self.find(css)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE, words)

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def focused(self) -> str:
        """What has the focus: its id, or its words."""
        return str(self.run("const at = document.activeElement; return at.id || at.innerText.trim()"))

    def forget_worries(self) -> None:
        """What the browser has complained about until now was meant to be."""
        self.browser.get_log("browser")

    def worries(self) -> list[str]:
        """What the browser complains about: mistakes of the script, what the policy stopped."""
        return [
            entry["message"] for entry in self.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
        ]
