"""Tools that measure servers: none of them counts a failure, and all that they send arrives whole."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.origin import LARGE, Origin, content
from tests.wire.peers import Upstream, tool
from tests.wire.proxies import Proxy

COUNT, AT_ONCE, FEW = 200, 10, 10
UPLOAD = content(100_000)


def configuration(peers: Peers) -> str:
    return f'[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n'


@pytest.fixture
def base(proxy: Proxy, upstream: Upstream) -> str:
    upstream.script = Origin()
    return f"http://127.0.0.1:{proxy.port}"


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    (file := tmp_path / "upload").write_bytes(UPLOAD)
    return file


def run(name: str, package: str, *arguments: object) -> str:
    command = (tool(name, f"apt-get install {package}"), *map(str, arguments))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=40)
    assert done.returncode == 0, f"{command} ends with {done.returncode}: {done.stdout}"
    return done.stdout


def uploaded(upstream: Upstream, count: int) -> None:
    assert len(upstream.calls) == count
    assert all(call.body == UPLOAD for call in upstream.calls)


# ab, which speaks HTTP/1.0.


def ab(count: int, *arguments: object) -> dict[str, str]:
    """The lines of its report, by what is before the colon."""
    report = run("ab", "apache2-utils", "-q", "-n", count, "-c", AT_ONCE, *arguments)
    found = dict(re.findall(r"^([\w\- ]+): +(.*)$", report, re.MULTILINE))
    assert (found["Complete requests"], found["Failed requests"]) == (str(count), "0"), report
    assert "Non-2xx responses" not in found, report
    return found


def test_ab_is_answered(base: str) -> None:
    assert ab(COUNT, f"{base}/bytes/1000")["HTML transferred"] == f"{1000 * COUNT} bytes"
    assert ab(COUNT, f"{base}/chunked/1000")["HTML transferred"] == f"{1000 * COUNT} bytes"


def test_ab_keeps_its_connections(base: str) -> None:
    assert ab(COUNT, "-k", f"{base}/bytes/1000")["Keep-Alive requests"] == str(COUNT)


def test_ab_asks_for_heads(base: str) -> None:
    assert ab(COUNT, "-k", "-i", f"{base}/bytes/1000")["HTML transferred"] == "0 bytes"


def test_ab_gets_large_bodies(base: str) -> None:
    found = ab(FEW, "-k", f"{base}/bytes/{LARGE}")
    assert found["HTML transferred"] == f"{LARGE * FEW} bytes"


@pytest.mark.parametrize("method", ["-p", "-u"])
def test_ab_uploads(base: str, upstream: Upstream, upload: Path, method: str) -> None:
    ab(COUNT, "-k", method, upload, "-T", "application/octet-stream", f"{base}/echo")
    uploaded(upstream, COUNT)


# wrk, which sends as fast as it can.


@pytest.mark.parametrize(("path", "several"), [("bytes", 1), ("chunked", 5)], ids=["one by one", "pipelined"])
def test_wrk_is_answered(base: str, tmp_path: Path, path: str, several: int) -> None:
    (expected := tmp_path / "expected").write_bytes(content(1000))
    script = Path(__file__).with_name("counting.lua")
    url = f"{base}/{path}/1000"
    report = run("wrk", "wrk", "-t", 2, "-c", AT_ONCE, "-d", "1s", "-s", script, url, "--", several, expected)
    assert "Socket errors" not in report, report
    found = re.search(r"^right: (\d+) wrong: 0$", report, re.MULTILINE)
    assert found, report
    assert int(found[1]) >= AT_ONCE


# h2load, told to speak HTTP/1.1.


def h2load(count: int, *arguments: object) -> int:
    """Bytes of bodies that it got with `count` answers, all of them right."""
    report = run("h2load", "nghttp2-client", "--h1", "-n", count, "-c", AT_ONCE, *arguments)
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in report, report
    assert f"status codes: {count} 2xx" in report, report
    found = re.search(r"\((\d+)\) data$", report, re.MULTILINE)
    assert found, report
    return int(found[1])


def test_h2load_is_answered(base: str) -> None:
    assert h2load(COUNT, f"{base}/bytes/1000") == 1000 * COUNT
    assert h2load(COUNT, f"{base}/chunked/1000") >= 1000 * COUNT  # it may count the chunks' sizes
    assert h2load(FEW, f"{base}/bytes/{LARGE}") == LARGE * FEW


def test_h2load_gets_all_that_it_pipelines(base: str) -> None:
    assert h2load(COUNT, "-m", 5, f"{base}/bytes/1000") == 1000 * COUNT


def test_h2load_uploads(base: str, upstream: Upstream, upload: Path) -> None:
    assert h2load(COUNT, "-d", upload, f"{base}/echo") == len(UPLOAD) * COUNT
    uploaded(upstream, COUNT)
