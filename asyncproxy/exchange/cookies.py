"""The cookies of a request (RFC 6265 section 4.2).

The rule: time grows with the field's length and no faster, for it is read where a client's choice of bytes may hold up
everybody. `http.cookies` takes seconds for a quoted value of 64 KiB of backslashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~:0-9A-Za-z]+")
_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7]{2})|(.))")


def cookies_of(fields: Iterable[str]) -> dict[str, str]:
    """The cookies in the values of Cookie fields, by name; of one that is repeated the last; no malformed ones.

    A quoted value is told without its quotes and escapes, as frameworks for Python write them.
    """
    return dict(pair for field in fields for crumb in field.split(";") if (pair := _pair(crumb)) is not None)


def _pair(crumb: str) -> tuple[str, str] | None:
    name, equals, value = crumb.partition("=")
    name, value = name.strip(" \t"), value.strip(" \t")
    if not equals or _NAME.fullmatch(name) is None:
        return None
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(_plain, value[1:-1])
    return name, value


def _plain(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 8)) if escaped[1] else escaped[2]
