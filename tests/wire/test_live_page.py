"""The live page in a real browser, before a real proxy."""

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from asyncproxy.modules import live
from tests.wire.browser import Page, chromium
from tests.wire.conftest import Peers
from tests.wire.peers import Client, Gate, free_port, request, until
from tests.wire.proxies import START, Proxy, ended, twistd

HERE = "tests.wire.modules_under_test"
OUTSIDE = """
return [...document.querySelectorAll("#rows tr")].flatMap((line) => {
  const right = line.getBoundingClientRect().right;
  return [...line.querySelectorAll("*")].filter((part) => part.getBoundingClientRect().right > right + 1);
}).map((part) => part.textContent)
"""
"""What stands out of its row."""
SAMPLES = 20.0
"""Seconds within which there are two samples."""


def configuration(peers: Peers) -> str:
    routes = "".join(
        f'[[route]]\npath = "/{name.lower()}"\nmodule = "{HERE}:{name}"\n'
        for name in ("Sleeper", "AsksForTicket", "AsksForBoundTicket", "Notes", "Blocker")
    )
    return f'[[route]]\npath = "/late"\nmodule = "{HERE}:Sleeper"\ntimeout = "90s"\n{routes}'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(browser: Chrome, proxy: Proxy) -> Iterator[Page]:
    page = Page(browser, proxy.admin).live()
    yield page
    assert page.worries() == []
    browser.get("about:blank")


@contextlib.contextmanager
def held(proxy: Proxy, *paths: str) -> Iterator[list[Client]]:
    """Clients that wait for an answer, in this order."""
    with contextlib.ExitStack() as stack:
        clients = []
        for path in paths:
            clients.append(stack.enter_context(proxy.client()))
            clients[-1].send(request("GET", path))
            proxy.staged(PARKED=len(clients))
        yield clients


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionError), Client(port) as client:
        return client.get("/healthz").status == 401
    return False


def test_rows_come_when_requests_park_and_go_when_they_end(page: Page, proxy: Proxy) -> None:
    assert "Nothing is parked" in page.text("#nothing")
    with held(proxy, "/sleeper/one?for=60", "/late/two?for=60") as (one, _):
        page.rows(2)
        assert page.texts("td.request code") == ["GET /sleeper/one", "GET /late/two"]
        assert page.text("td.at").startswith("modules_under_test.py:")
        assert page.texts("td.at code")[1] == 'await sleep(float(argument(request, "for")))'
        assert page.texts("td.waits") == ["sleep 60 s", "sleep 60 s"]
        assert page.texts("td.until")[0] == "no limit"
        assert page.texts("td.until")[1].startswith("in 1 min")
        page.shows("#figure-parked .value", "2")
        one.close()
        page.rows(1)
        assert page.text("td.request code") == "GET /late/two"
    page.rows(0)
    assert "Nothing is parked" in page.text("#nothing")


def test_the_charts_draw(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/sleeper?for=60"):
        until(lambda: "L" in page.attribute("#figure-parked .line", "d"), "a line of two samples", SAMPLES)
        assert page.count("#figures .chart") == 8
        drawn = page.run("return document.querySelector('#figure-parked .chart').getBoundingClientRect().width")
        assert drawn > 50

        def told() -> str:
            return page.attribute("#figure-parked .chart", "aria-label")

        most = r"the last ten minutes, [1-9][0-9,]* at most"
        until(lambda: re.fullmatch(most, told()), lambda: f"a sample has the parked request: {told()}", SAMPLES)


def test_what_a_worker_runs_is_shown(page: Page, proxy: Proxy, gate: Gate) -> None:
    with proxy.client() as client:
        client.send(request("GET", f"/blocker?gate={gate.port}"))
        gate.arrived()
        page.shows("#workers", "GET /blocker")
        assert page.count("#workers li") == 5
        gate.open()
        assert client.reply().status == 200
    until(lambda: page.texts("#workers li") == ["free"] * 5, "all are free")


def test_rows_are_filtered_sorted_and_paged(page: Page, proxy: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(205):
            client = stack.enter_context(proxy.client())
            client.send(request("GET", f"/sleeper/{number:03}?for=60"))
        proxy.staged(PARKED=205)
        page.shows("#count", "205")
        page.rows(100)
        page.shows("#page", "1 to 100 of 205")
        page.click("#next")
        page.click("#next")
        page.rows(5)
        page.shows("#page", "201 to 205 of 205")
        page.click('th[data-sort="path"] button')
        page.rows(100)
        assert page.text("td.request code") == "GET /sleeper/000"
        assert page.attribute('th[data-sort="path"]', "aria-sort") == "ascending"
        page.click('th[data-sort="path"] button')
        assert page.text("td.request code") == "GET /sleeper/204"
        assert page.attribute('th[data-sort="path"]', "aria-sort") == "descending"
        page.fill("#filter", "SLEEPER/07 get")
        page.rows(10)
        page.shows("#count", "10 of 205")
        page.fill("#filter", "nothing like it")
        page.shows("#nothing", "None of them passes the filter.")
        page.fill("#filter", "")
        page.rows(100)


def test_a_click_resumes_the_request_that_waits(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/asksforticket?name=one", "/asksforticket?name=two%2F%C3%A4") as (_, two):
        page.rows(2)
        page.click("#rows tr:nth-child(2) .actions button")
        page.shows("#act-facts", "two/ä")
        page.fill("#value", "{no json")
        page.click("#act-do")
        page.shows("#act-error", "That is no JSON")
        page.fill("#value", '{"approved": true, "by": "Ada"}')
        page.click("#act-do")
        assert two.reply().json() == {"approved": True, "by": "Ada"}
        page.rows(1)
        page.shows("#news", "Resumed")
        assert "one" in page.text("td.waits")
    assert "live page at 127.0.0.1" in proxy.log


def test_a_bound_ticket_is_resumed_with_its_digest_alone(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/asksforboundticket?name=b&bind=sha256:abc") as (client,):
        page.rows(1)
        page.click(".actions button")
        assert page.find("#bind").get_attribute("value") == "sha256:abc"
        page.fill("#value", "1")
        page.fill("#bind", "sha256:other")
        page.click("#act-do")
        page.shows("#act-error", "bound")
        page.forget_worries()  # that there was a 409
        page.fill("#bind", "sha256:abc")
        page.click("#act-do")
        assert client.reply().json() == 1


def test_a_request_is_given_longer_and_cancelled(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/late?for=60") as (client,):
        page.rows(1)
        assert page.texts(".actions button") == ["Extend", "Cancel"]
        page.click(".actions button:first-child")
        page.fill("#by", "soon")
        page.click("#act-do")
        page.shows("#act-error", "with a unit")
        page.fill("#by", "1h")
        page.click("#act-do")
        page.shows("td.until", "in 1 h 1 min")
        page.click(".actions button:last-child")
        page.fill("#status", "200")
        page.click("#act-do")
        page.shows("#act-error", "from 400 to 599")
        page.fill("#status", "429")
        page.click("#act-do")
        assert client.reply().status == 429
    page.rows(0)


def test_what_the_proxy_refuses_is_told_in_its_words(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/sleeper?for=60") as (client,):
        page.rows(1)
        page.click(".actions button")
        client.close()
        proxy.staged()
        page.click("#act-do")
        page.shows("#act-error", "no request has this id")
        page.press(Keys.ESCAPE)
        until(lambda: not page.run("return document.getElementById('act').open"), "the dialog is closed")
    page.forget_worries()  # that there was a 404


def test_the_keyboard_alone_is_enough(page: Page, proxy: Proxy) -> None:
    with held(proxy, "/asksforticket?name=one", "/asksforticket?name=two") as (_, two):
        page.rows(2)
        for _ in range(30):
            page.press(Keys.TAB)
            if page.run("return document.activeElement.matches('#rows tr')"):
                break
        assert "'one'" in page.focused()
        page.press(Keys.ARROW_DOWN)
        assert "'two'" in page.focused()
        outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "it is seen where the focus is"
        page.press(Keys.ENTER)
        assert page.focused() == "Resume"
        page.press(Keys.TAB)
        assert page.focused() == "Extend"
        page.press(Keys.ESCAPE)
        assert "'two'" in page.focused()
        page.press(Keys.ENTER)
        page.press(Keys.ENTER)
        until(lambda: page.focused() == "value", "the field has the focus")
        page.press(Keys.ESCAPE)
        until(lambda: page.focused() == "Resume", "the dialog gives the focus back")
        page.press(Keys.ENTER)
        until(lambda: page.focused() == "value", "the field has the focus")
        page.press("42", Keys.TAB)
        page.press(Keys.TAB)
        assert page.focused() == "act-do"
        page.press(Keys.ENTER)
        assert two.reply().json() == 42
        page.rows(1)
        until(lambda: "'one'" in page.focused(), "the focus goes to a row that is left")


def test_a_script_in_a_path_stays_text(page: Page, proxy: Proxy) -> None:
    path = "/sleeper/%3Cscript%3Edocument.title='owned'%3C/script%3E%3Cimg%20src=x%20onerror=alert(1)%3E?for=60"
    with held(proxy, path):
        page.rows(1)
        assert page.text("td.request code").startswith("GET /sleeper/<script>document.title='owned'</script><img src=x")
        page.click(".actions button")
        page.shows("#act-facts", "<script>")
        page.press(Keys.ESCAPE)
        assert page.count("body img") == page.count("body script") == 0
        page.browser.refresh()
        page.rows(1)
        assert "owned" not in page.browser.title
        assert page.count("body img") == page.count("body script") == 0


def test_a_page_that_is_paused_stands_still(page: Page, proxy: Proxy) -> None:
    page.click("#pause")
    page.shows("#connection", "paused")
    with held(proxy, "/sleeper?for=60"):
        page.run("window.seen = performance.now()")
        until(lambda: page.run("return performance.now() - window.seen > 2500"), "two looks")
        assert page.count("#rows tr") == 0
        page.click("#pause")
        page.rows(1)


@pytest.mark.parametrize("width", [360, 820, 1440])
def test_nothing_is_wider_than_the_screen(page: Page, proxy: Proxy, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        with held(proxy, f"/late/{'x' * 300}?for=60", "/asksforticket?name=n"):
            page.rows(2)
            assert page.run("return document.documentElement.scrollWidth") <= width
            assert page.run(OUTSIDE) == []
            page.click("#rows tr:nth-child(2) .actions button")
            box = page.run(
                "const { left, right } = document.getElementById('act').getBoundingClientRect(); return [left, right]"
            )
            assert 0 <= box[0] < box[1] <= width
            page.press(Keys.ESCAPE)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_page_whose_proxy_went_finds_the_next_one(
    browser: Chrome, make_proxy: Callable[..., Proxy], peers: Peers, reactor_name: str
) -> None:
    first = make_proxy(configuration(peers))
    page = Page(browser, first.admin).live()
    with held(first, "/sleeper/former?for=60"):
        page.rows(1)
    first.staged()
    first.stop()
    page.shows("#connection", "connection lost")
    second = twistd("--config", str(first.directory / "proxy.toml"), reactor=reactor_name)
    try:
        page.shows("#connection", "live", 20)
        page.rows(0)
        with Client(first.port) as client:
            client.send(request("GET", "/sleeper/next?for=60"))
            page.rows(1)
            assert page.text("td.request code") == "GET /sleeper/next"
        browser.get("about:blank")
    finally:
        second.terminate()
        assert ended(second)[0] == 0


def test_with_a_token_the_page_is_reached_by_logging_in(
    browser: Chrome, tmp_path: Path, peers: Peers, reactor_name: str
) -> None:
    port, admin, config = free_port(), free_port(), tmp_path / "proxy.toml"
    listeners = f'[server]\nlisten = "tcp:{port}"\n[admin]\nlisten = "tcp:{admin}"\ntoken = "secret"\n'
    config.write_text(listeners + configuration(peers))
    process = twistd("--config", str(config), reactor=reactor_name)
    try:
        until(lambda: listens(admin), "the proxy listens", START)
        page = Page(browser, admin)
        page.fill("#token", "secret")
        page.press(Keys.ENTER)
        page.live()
        with Client(port) as client:
            client.send(request("GET", "/asksforticket?name=n"))
            page.rows(1)
            page.click(".actions button")
            page.fill("#value", '"in"')
            page.click("#act-do")
            assert client.reply().json() == "in"
        browser.get("about:blank")
    finally:
        process.terminate()
        assert ended(process)[0] == 0


def test_without_a_script_the_page_still_tells(browser: Chrome, proxy: Proxy) -> None:
    with held(proxy, "/sleeper?for=60"):
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            page = Page(browser, proxy.admin)
            assert "GET /sleeper" in page.find("#rows").text
            assert not page.find("#parked-title").find_elements("css selector", "button")
        finally:
            browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.get("about:blank")


def test_the_wheel_and_the_sdist_carry_the_page(asyncproxy_wheel: Path, asyncproxy_sdist: Path) -> None:
    there = {f"asyncproxy/modules/live/{file.name}" for file in Path(str(live.__file__)).parent.glob("*.*")}
    assert {f"asyncproxy/modules/live/page.{ending}" for ending in ("html", "css", "js", "py")} < there
    assert there <= set(ZipFile(asyncproxy_wheel).namelist())
    with tarfile.open(asyncproxy_sdist) as sdist:
        assert there <= {name.partition("/")[2] for name in sdist.getnames()}


def test_a_page_of_two_thousand_is_there_at_once_and_stays_smooth(page: Page, proxy: Proxy, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(2000):
            stack.enter_context(proxy.client()).send(request("GET", f"/sleeper/{number}?for=60"))
        proxy.staged(PARKED=2000)
        page.browser.refresh()
        painted = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        assert until(lambda: page.run(painted), "it is painted") < 1000
        page.rows(100)
        page.shows("#count", "2,000")
        assert page.run("return document.querySelectorAll('*').length") < 4000, "a hundred rows, not all of them"
