"""The files of the live page: sent as they are in the package, and kept by browsers until they are others."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from asyncproxy import Request, Response

_KINDS: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


class File:
    """A file beside this one."""

    def __init__(self, name: str) -> None:
        self._content = files(__package__).joinpath(name).read_bytes()
        self._fields = [
            ("content-type", _KINDS[name[name.rindex(".") :]]),
            ("cache-control", "no-cache"),  # kept, but asked for: the proxy may have been upgraded
            ("etag", f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'),
            ("x-content-type-options", "nosniff"),
        ]
        self._mark = self._fields[2][1]

    def answer(self, request: Request) -> Response:
        """The file, unless the client has it."""
        said = request.headers.get("if-none-match") or ""
        if self._mark in (mark.strip() for mark in said.split(",")):
            return Response(304, self._fields[1:])
        return Response(200, self._fields, self._content)


FILES: Final = {
    f"/status/{name}": File(name)
    for name in ("page.css", "page.js", "words.js", "parked.js", "rows.js", "figures.js", "actions.js")
}
"""By their paths."""
