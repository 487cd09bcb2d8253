"""Errors of ours as their clients like to read them: plain text, JSON or HTML, by the request's Accept.

The rule: all three say the same, the status with its reason, the words of the error and the request's id, and nothing
of what is behind us. Pages of an operator's own, read at start, stand in for ours. Whatever is filled in is escaped.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Final

from asyncproxy.exchange.errors import error_object, error_text, reason_phrase

KINDS: Final = {"txt": "text/plain; charset=utf-8", "json": "application/json", "html": "text/html; charset=utf-8"}
"""By the endings of pages' names; of those that a client takes equally the first one."""
PAGE_NAME: Final = re.compile(r"(?:[45]\d\d|[45]xx)\.(?:txt|json|html)")
PLACEHOLDERS: Final = ("status", "reason", "words", "id")

_FILLED: Final = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")
_ACCEPT: Final = re.compile(rb"(?i:\r\naccept:)[ \t]*([^\r]*)")
_ACCEPT_READ: Final = 2048
"""Bytes of Accept that are looked at."""
_WEIGHT: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{status} {reason}</title>
<style>
  :root { color-scheme: light dark; --ink: #1f2328; --soft: #656d76; --line: #d1d9e0; --ground: #fff }
  @media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #8d96a0; --line: #30363d; --ground: #0d1117 } }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground);
    color: var(--ink); font: 1rem/1.6 system-ui, sans-serif }
  main { max-width: 34rem; padding: 2rem }
  h1 { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.3 }
  h1 b { display: block; color: var(--soft); font-size: 4rem; font-weight: 200; line-height: 1.2 }
  p { margin: .75rem 0 0; overflow-wrap: anywhere }
  p::first-letter { text-transform: uppercase }
  p:empty { display: none }
  footer { margin-top: 2rem; padding-top: .75rem; border-top: 1px solid var(--line); color: var(--soft);
    font-size: .8125rem }
  code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
</style>
<main>
  <h1><b>{status}</b> {reason}</h1>
  <p>{words}</p>
  <footer>Request <code>{id}</code></footer>
</main>
"""


class ErrorPages:
    """The bodies of errors. `pages` are texts by their files' names, as ``502.html`` or ``5xx.json``."""

    def __init__(self, pages: Mapping[str, str] | None = None) -> None:
        self.names = tuple(sorted(pages or {}))
        self._pages = {name: _FILLED.split(text) for name, text in (pages or {}).items()}

    def reply(self, status: int, words: str, request_id: str, block: bytes) -> tuple[bytes, bytes]:
        """Header block and body of an error for a request with the header block `block`, if it could be read.

        Nobody is to store it: the next one is not this request's, and may want to read it otherwise.
        """
        kind = preferred(block)
        body = self.body(kind, status, words, request_id)
        fields = f"\r\nContent-Type: {KINDS[kind]}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store"
        return (fields + "\r\nRetry-After: 1" if status == 503 else fields).encode("ascii"), body

    def body(self, kind: str, status: int, words: str, request_id: str) -> bytes:
        """The body of an error as `kind`, one of `KINDS`."""
        page = self._pages.get(f"{status}.{kind}") or self._pages.get(f"{status // 100}xx.{kind}")
        if page is None:
            if kind == "json":
                return error_object(status, words, request_id) + b"\n"
            if kind == "txt":
                return error_text(status, words, request_id)
            page = _OURS
        return _filled(page, kind, status, words, request_id)

    def __eq__(self, other: object) -> bool:
        return self._pages == other._pages if isinstance(other, ErrorPages) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ErrorPages {', '.join(self.names) or 'of our own'}>"


_OURS: Final = _FILLED.split(_PAGE)


def check_page(name: str, text: str) -> None:
    """Raises ValueError if a page with placeholders is not what its name says."""
    if name.endswith(".json"):
        try:
            json.loads(_filled(_FILLED.split(text), "json", 502, 'a "word"', "id"))
        except ValueError as why:
            raise ValueError(f"{name} is no JSON when its placeholders are filled in: {why}") from None


def _filled(page: list[str], kind: str, status: int, words: str, request_id: str) -> bytes:
    """`page`, text and names of placeholders in turn."""
    values = dict(zip(PLACEHOLDERS, (str(status), reason_phrase(status), words, request_id), strict=True))
    parts = [_escaped(kind, values[part]) if index % 2 else part for index, part in enumerate(page)]
    return "".join(parts).encode("utf-8", "replace")


def _escaped(kind: str, text: str) -> str:
    if kind == "html":
        return html.escape(text)
    return json.dumps(text)[1:-1] if kind == "json" else text


def preferred(block: bytes) -> str:
    """Which of `KINDS` a request with this header block takes best (RFC 9110 section 12.5.1); text if none."""
    ranges = list(_ranges(b",".join(_ACCEPT.findall(block))[:_ACCEPT_READ].decode("latin-1")))
    if not ranges:
        return "txt"
    best = max(((*_quality(ranges, media), kind) for kind, media in _MEDIA), key=lambda one: one[:3])
    return best[3] if best[0] else "txt"


_MEDIA: Final = [(kind, media.partition(";")[0]) for kind, media in KINDS.items()]


def _ranges(accept: str) -> list[tuple[str, float]]:
    """The media ranges of Accept with their weights; those with a weight that is none are left out."""
    found = []
    for part in accept.split(","):
        media, *parameters = [one.strip().lower() for one in part.split(";")]
        weight = next((one.partition("=")[2].strip() for one in parameters if one.startswith("q=")), "1")
        if media and _WEIGHT.fullmatch(weight):
            found.append((media, float(weight)))
    return found


def _quality(ranges: list[tuple[str, float]], media: str) -> tuple[float, int, int]:
    """How well `ranges` take `media`: by the closest one its weight, then how close it is, then how early it stands."""
    closeness = {"*/*": 1, f"{media.partition('/')[0]}/*": 2, media: 3}
    matches = [(closeness[one], -at, weight) for at, (one, weight) in enumerate(ranges) if one in closeness]
    if not matches:
        return 0.0, 0, 0
    near, place, weight = max(matches)
    return weight, near, place
