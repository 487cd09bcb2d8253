"""Clients that people use, each asked for the same in one way: programs by their options, libraries by their calls.

An `Answer` has the fields' names in lower case. A session is one client with its connections and cookies.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import requests
import urllib3

from tests.wire.peers import PATIENCE, tool

Fields = dict[str, str]
Upload = bytes | Iterable[bytes] | None


@dataclass
class Answer:
    """What a client has made of a response."""

    status: int
    fields: Fields
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Session(ABC):
    """One client. Follows redirects, keeps cookies, decodes gzip."""

    cannot: frozenset[str] = frozenset()
    """What there is no way to ask this client for."""

    def __init__(self, base: str, folder: Path) -> None:
        self.base = base
        self.folder = folder

    @abstractmethod
    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        """The response; an upload that is no `bytes` goes in chunks."""

    @abstractmethod
    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of the response, each as soon as it is there."""

    def close(self) -> None:  # noqa: B027 - a program has none to let go of
        """Let go of connections."""


def lower(pairs: Iterable[tuple[str, str]]) -> Fields:
    return {name.lower(): value for name, value in pairs}


# Programs.


def whole(body: Upload) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body or ())


def last_head(text: bytes) -> tuple[int, Fields]:
    """Status and fields of the last of several heads."""
    head = [one for one in text.replace(b"\r\n", b"\n").split(b"\n\n") if one.strip()][-1]
    line, _, rest = head.strip(b"\n ").partition(b"\n")
    lines = b"\n".join(one.strip() for one in rest.split(b"\n"))
    return int(line.split()[1]), lower(parse_headers(BytesIO(lines + b"\n\n")).items())


class Program(Session):
    """A program that is run for each request."""

    name: str
    package: str
    plain: tuple[str, ...]
    """The options that have it write bodies to its output, and little else."""

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        self.path = tool(self.name, f"apt-get install {self.package}")

    def run(self, *arguments: str, data: bytes | None = None, good: tuple[int, ...] = (0,)) -> tuple[bytes, bytes]:
        """What it writes to its output and to its errors."""
        command = (self.path, *arguments)
        done = subprocess.run(command, input=data, cwd=self.folder, capture_output=True, timeout=4 * PATIENCE)
        assert done.returncode in good, f"{command} ends with {done.returncode}: {done.stderr.decode(errors='replace')}"
        return done.stdout, done.stderr

    def several(self, *paths: str) -> bytes:
        """The bodies of all of them, fetched in one run."""
        return self.run(*self.plain, *(self.base + path for path in paths))[0]

    @abstractmethod
    def go_on(self, path: str, file: Path) -> None:
        """Fetch what `file` has the beginning of."""

    def read(self, *arguments: str) -> Iterator[bytes]:
        """The lines it prints, as it prints them."""
        with subprocess.Popen((self.path, *arguments), cwd=self.folder, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield from process.stdout
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()


class Curl(Program):
    name = package = "curl"
    plain = ("--silent", "--show-error", "--no-buffer")

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        head, jar = self.folder / "head", self.folder / "jar"
        how = ["--head"] if method == "HEAD" else ["--request", method] if method not in ("GET", "POST") else []
        for pair in (fields or {}).items():
            how += ["--header", ": ".join(pair)]
        if isinstance(body, bytes):
            how += ["--data-binary", "@-"]
        elif body is not None:
            how += (
                ["--upload-file", "-"] if method == "PUT" else ["--data-binary", "@-", "-HTransfer-Encoding: chunked"]
            )
        kept = ("--cookie", str(jar), "--cookie-jar", str(jar))
        output, _ = self.run(
            *self.plain, "--location", "--compressed", *kept, "--dump-header", str(head), "--output",
            "-" if method != "HEAD" else "/dev/null", *how, self.base + path, data=whole(body),
        )  # fmt: skip
        return Answer(*last_head(head.read_bytes()), output)

    def lines(self, path: str) -> Iterator[bytes]:
        return self.read(*self.plain, self.base + path)

    def go_on(self, path: str, file: Path) -> None:
        self.run("--silent", "--show-error", "--continue-at", "-", "--output", str(file), self.base + path)


class Wget(Program):
    name = package = "wget"
    cannot = frozenset({"chunked upload", "conditions", "Expect", "ranges", "uploads by redirect"})
    plain = ("--no-verbose", "--output-document=-")

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        jar, data = self.folder / "jar", self.folder / "data"
        how = [f"--header={name}: {value}" for name, value in (fields or {}).items()]
        if method == "HEAD":
            how.append("--spider")
        elif method != "GET":
            data.write_bytes(whole(body))
            how += [f"--method={method}", f"--body-file={data}"]
        if jar.exists():
            how.append(f"--load-cookies={jar}")
        output, errors = self.run(
            *self.plain, "--server-response", "--content-on-error", "--compression=auto", "--tries=1",
            f"--save-cookies={jar}", "--keep-session-cookies", *how, self.base + path,
            good=(0, 8),  # 8: the server answered with an error
        )  # fmt: skip
        heads = b"".join(line + b"\n" for line in errors.split(b"\n") if line.startswith(b"  "))
        return Answer(*last_head(heads.replace(b"  HTTP/", b"\n\nHTTP/")), output)

    def lines(self, path: str) -> Iterator[bytes]:
        return self.read(*self.plain, self.base + path)

    def go_on(self, path: str, file: Path) -> None:
        self.run("--no-verbose", "--continue", f"--output-document={file}", self.base + path)


class Node(Session):
    """Node's `fetch`, in a program that is told what to ask for a line at a time."""

    cannot = frozenset({"cookies", "Expect", "one connection with HEAD"})

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        command = (tool("node", "apt-get install nodejs"), str(Path(__file__).with_name("fetching.mjs")), base)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _tell(self, **wanted: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()

    def _told(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "node has ended"
        return json.loads(line)

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        data = None if body is None else base64.b64encode(whole(body)).decode()
        chunked = body is not None and not isinstance(body, bytes)
        self._tell(method=method, path=path, fields=fields or {}, body=data, chunked=chunked, lines=False)
        told = self._told()
        return Answer(told["status"], lower(told["fields"]), base64.b64decode(told["body"]))

    def lines(self, path: str) -> Iterator[bytes]:
        self._tell(path=path, lines=True)
        while (line := self._told()) is not None:
            yield f"{line}\n".encode()

    def close(self) -> None:
        self.process.communicate(timeout=PATIENCE)


# Libraries of Python.


class Requests(Session):
    cannot = frozenset({"Expect"})

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        self.session = requests.Session()
        self.session.trust_env = False

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        data: Any = body if body is None or isinstance(body, bytes) else iter(body)
        follow = method != "HEAD"
        reply = self.session.request(
            method, self.base + path, headers=fields, data=data, timeout=PATIENCE, allow_redirects=follow
        )
        return Answer(reply.status_code, lower(reply.headers.items()), reply.content)

    def lines(self, path: str) -> Iterator[bytes]:
        with self.session.get(self.base + path, stream=True, timeout=PATIENCE) as reply:
            for line in reply.iter_lines(chunk_size=1):
                yield line + b"\n"

    def close(self) -> None:
        self.session.close()


class Urllib3(Session):
    cannot = frozenset({"cookies", "Expect"})

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        self.pool = urllib3.PoolManager(timeout=PATIENCE, headers={"Accept-Encoding": "gzip"})

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        headers = {**self.pool.headers, **(fields or {})}
        data: Any = body if body is None or isinstance(body, bytes) else iter(body)
        reply = self.pool.request(method, self.base + path, body=data, headers=headers, retries=urllib3.Retry(3))
        return Answer(reply.status, lower(reply.headers.items()), reply.data)

    def lines(self, path: str) -> Iterator[bytes]:
        reply = self.pool.request("GET", self.base + path, preload_content=False)
        rest = b""
        for piece in reply.stream():
            *found, rest = (rest + piece).split(b"\n")
            yield from (line + b"\n" for line in found)
        reply.release_conn()

    def close(self) -> None:
        self.pool.clear()


class Httpx(Session):
    cannot = frozenset({"Expect"})

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        self.client = httpx.Client(base_url=base, follow_redirects=True, timeout=PATIENCE, trust_env=False)

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        reply = self.client.request(method, path, headers=fields, content=body)
        return Answer(reply.status_code, lower(reply.headers.items()), reply.content)

    def lines(self, path: str) -> Iterator[bytes]:
        with self.client.stream("GET", path) as reply:
            for line in reply.iter_lines():
                yield f"{line}\n".encode()

    def close(self) -> None:
        self.client.close()


class Aiohttp(Session):
    """On a loop of its own, on a thread of its own."""

    def __init__(self, base: str, folder: Path) -> None:
        super().__init__(base, folder)
        self.loop = asyncio.SelectorEventLoop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.session = self._run(self._open())

    async def _open(self) -> aiohttp.ClientSession:
        jar = aiohttp.CookieJar(unsafe=True)  # those of hosts that are addresses, too
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * PATIENCE), cookie_jar=jar)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(3 * PATIENCE)

    def ask(self, method: str, path: str, fields: Fields | None = None, body: Upload = None) -> Answer:
        return self._run(self._ask(method, path, dict(fields or {}), body))

    async def _ask(self, method: str, path: str, fields: Fields, body: Upload) -> Answer:
        async def upload(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        data = None if body is None else BytesIO(body) if isinstance(body, bytes) else upload(body)
        expect = fields.pop("Expect", None) is not None
        url = self.base + path
        async with self.session.request(method, url, headers=fields, data=data, expect100=expect) as reply:
            return Answer(reply.status, lower(reply.headers.items()), await reply.read())

    def lines(self, path: str) -> Iterator[bytes]:
        reply = self._run(self.session.get(self.base + path))
        while line := self._run(reply.content.readline()):
            yield line

    def close(self) -> None:
        self._run(self.session.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


SESSIONS: dict[str, type[Session]] = {
    "curl": Curl,
    "wget": Wget,
    "node": Node,
    "requests": Requests,
    "urllib3": Urllib3,
    "httpx": Httpx,
    "aiohttp": Aiohttp,
}
