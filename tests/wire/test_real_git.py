"""git over HTTP: what is pushed and cloned through the proxy is what there is, however git sends it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.origin import LARGE, content
from tests.wire.peers import Call, Upstream, tool
from tests.wire.proxies import Proxy

EXPECT = "http.extraHeader=Expect: 100-continue"
WHOLE = "http.postBuffer=100000000"
"""What is longer goes in chunks; by default, what is longer than 1 MiB."""


def configuration(peers: Peers) -> str:
    return f'[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n'


class Repositories:
    """The origin: git's own CGI program before the repositories of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> None:
        if call.get("expect") is not None:
            call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.calls.append(call)
        path, _, query = call.target.partition("?")
        about = {
            "GIT_PROJECT_ROOT": str(self.folder), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": call.method,
            "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": call.get("content-type") or "",
            "HTTP_CONTENT_ENCODING": call.get("content-encoding") or "", "REMOTE_USER": "ada",
            "GIT_PROTOCOL": call.get("git-protocol") or "", "CONTENT_LENGTH": str(len(call.body)),
        }  # fmt: skip
        program = [tool("git", "apt-get install git"), "http-backend"]
        done = subprocess.run(program, input=call.body, env=environment() | about, capture_output=True, check=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = head.decode().split("\r\n")
        status = next((one.partition(": ")[2] for one in fields if one.startswith("Status: ")), "200 OK")
        call.answer(body, status, *(one for one in fields if not one.startswith("Status: ")))


def environment() -> dict[str, str]:
    """Nobody's own settings."""
    who = {f"GIT_{role}_{what}": "ada@b.test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder: Path, *arguments: str) -> str:
    """What git says in `folder`."""
    command = (tool("git", "apt-get install git"), "-c", "init.defaultBranch=main", *arguments)
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, f"{command} ends with {done.returncode}: {done.stderr}"
    return done.stdout


@pytest.fixture
def repositories(tmp_path: Path, upstream: Upstream) -> Repositories:
    """An empty one, named ``project.git``."""
    (folder := tmp_path / "repositories").mkdir()
    git(folder, "init", "--bare", "-q", "project.git")
    git(folder / "project.git", "config", "http.receivepack", "true")
    upstream.script = repositories = Repositories(folder)
    return repositories


@pytest.fixture
def url(proxy: Proxy, repositories: Repositories) -> str:
    return f"http://127.0.0.1:{proxy.port}/project.git"


@pytest.fixture
def work(tmp_path: Path, url: str) -> Path:
    """A checkout with a commit that is large."""
    (work := tmp_path / "work").mkdir()
    git(work, "init", "-q")
    git(work, "remote", "add", "origin", url)
    commit(work, "large", content(LARGE))
    return work


def commit(work: Path, name: str, data: bytes) -> None:
    (work / name).write_bytes(data)
    git(work, "add", name)
    git(work, "commit", "-q", "-m", name)


@pytest.mark.parametrize("options", [(), ("-c", WHOLE), ("-c", EXPECT), ("-c", WHOLE, "-c", EXPECT)])
def test_what_is_pushed_is_cloned(
    work: Path, tmp_path: Path, url: str, repositories: Repositories, options: tuple[str, ...]
) -> None:
    git(work, *options, "push", "-q", "origin", "main")
    (pushed,) = [
        call for call in repositories.calls if call.target.endswith("/git-receive-pack") and len(call.body) > 4
    ]
    assert len(pushed.body) > LARGE
    assert pushed.framing == ("length" if WHOLE in options else "chunked")
    git(tmp_path, *options, "clone", "-q", url, "clone")
    assert (tmp_path / "clone" / "large").read_bytes() == content(LARGE)
    git(tmp_path / "clone", "fsck", "--strict")


def test_what_one_pushes_another_fetches(work: Path, tmp_path: Path, url: str, repositories: Repositories) -> None:
    for number in range(40):
        git(work, "tag", f"tag{number}")
    git(work, "push", "-q", "--tags", "origin", "main")
    git(tmp_path, "clone", "-q", "--branch", "main", url, "clone")
    commit(work, "small", b"words")
    git(work, "push", "-q", "origin", "main")
    git(tmp_path / "clone", "-c", "protocol.version=0", "pull", "-q")
    assert (tmp_path / "clone" / "small").read_bytes() == b"words"
    asked = [call for call in repositories.calls if call.target.endswith("/git-upload-pack")]
    assert any(call.get("content-encoding") == "gzip" for call in asked), "git has compressed what it asks"


def test_a_repository_that_is_not_there_is_told(work: Path, url: str) -> None:
    with pytest.raises(AssertionError, match="not found"):
        git(work, "fetch", url.replace("project", "nothing"))
