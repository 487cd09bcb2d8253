"""Requests to the admin listener of a running proxy, over TCP or a unix: socket."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from typing import Any, Final
from urllib.parse import urlsplit

PATIENCE: Final = 30.0
"""Seconds that a connection, and an answer, may take."""


class NotReached(Exception):
    """Nobody answers there, or not as an admin listener does."""


class Refused(Exception):
    """The proxy does not do what it is asked, in its own words."""


class Admin:
    """The admin listener at `url`, which is ``http://host:port``, ``https://host:port`` or ``unix:/path``.

    Raises ValueError for another kind of URL, and for a `token` that no admin listener can have.
    """

    def __init__(self, url: str, token: str | None = None, patience: float = PATIENCE) -> None:
        self.url = url
        self._fields = {"Accept": "application/json", "Operator": _operator()}
        if token:
            if not re.fullmatch(r"[!-~]+", token):
                raise ValueError("the token has something else in it than visible ASCII characters: no proxy has it")
            self._fields["Authorization"] = f"Bearer {token}"
        self._connection = _connection(url, patience)

    def get(self, path: str) -> Any:
        """What is at `path`, read as JSON. Raises `NotReached`, `Refused`."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, value: Any, fields: Mapping[str, str] | None = None) -> Any:
        """Send `value` as JSON to `path`; what is answered, read as JSON. Raises `NotReached`, `Refused`."""
        body = json.dumps(value).encode()
        return self._ask("POST", path, body, {"Content-Type": "application/json", **(fields or {})})

    def _ask(self, method: str, path: str, body: bytes | None, fields: Mapping[str, str]) -> Any:
        try:
            self._connection.request(method, path, body, {**self._fields, **fields})
            reply = self._connection.getresponse()
            data = reply.read()
        except (OSError, HTTPException, UnicodeError) as why:  # the last for a name that cannot be looked up
            self._connection.close()
            raise NotReached(f"no answer from {self.url}: {_words(why)}; {_MEND}") from why
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if reply.status == 401:
            raise Refused(f"{self.url} wants its token: set ASYNCPROXY_TOKEN, or give --token")
        if reply.status >= 400 and isinstance(answer, dict) and isinstance(answer.get("error"), str):
            raise Refused(answer["error"])  # what is no string is told by any listener, not by an admin's call
        if reply.status >= 300 or not isinstance(answer, dict):
            raise NotReached(f"{self.url} answers {reply.status} {reply.reason} to {method} {path}: {_MEND}")
        return _Answer(answer)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


_MEND: Final = (
    "is it the admin listener of a running proxy? say where that is by --admin or ASYNCPROXY_ADMIN, "
    'such as http://127.0.0.1:8081 for listen = "tcp:8081:interface=127.0.0.1" in [admin]'
)


class _Answer(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise NotReached(f"what answers has no {key!r} in it: {_MEND}")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str, patience: float) -> HTTPConnection:
    if url.startswith("unix:") and len(url) > len("unix:"):
        return _UnixConnection(url.removeprefix("unix:"), patience)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f'"{url}" is not an admin listener; write for example http://127.0.0.1:8081, or unix:/path')
    if parts.username is not None:
        raise ValueError(f'"{url.rpartition("@")[2]}" needs no user: the token is given by ASYNCPROXY_TOKEN')
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        return kind(parts.hostname, parts.port, timeout=patience)
    except InvalidURL as why:
        raise ValueError(str(why)) from None


def _operator() -> str:
    """Who sits here, for the proxy's log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "somebody"
    return f"{user}@{socket.gethostname()}".encode("ascii", "replace").decode()


def _words(why: Exception) -> str:
    if isinstance(why, OSError) and why.strerror:
        return why.strerror
    return str(why) or type(why).__name__
