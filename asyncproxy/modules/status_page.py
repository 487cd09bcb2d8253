"""The status page: what ``status.json`` holds and a little more, for people. A function of that, and nothing else.

The rule: nothing is loaded from elsewhere, no script runs, and every text that is not ours is escaped: paths are what
strangers send, and an operator's browser shows them. The policy in `HEADERS` would stop what got through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

ROWS: Final = 200
"""Parked requests that the page shows; ``status.json`` pages through all of them."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5b6575; --paper: #f5f6f8; --card: #fff; --line: #dfe3e9;
  --accent: #1f6f5c }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #97a2b2; --paper: #12161c; --card: #1b2129;
  --line: #2d3540; --accent: #5cc3a8 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; margin-bottom: 1.25rem }
h1 { font-size: 1.4rem; margin: 0 }
h2 { font-size: 1rem; margin: 2rem 0 .5rem }
header p, .note { color: var(--dim); margin: 0 }
nav { margin-left: auto; display: flex; gap: 1rem }
a { color: var(--accent) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .75rem; margin: 0 }
dl > div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem }
dt { color: var(--dim); font-size: .8rem }
dd { margin: 0; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums }
dd small { font-size: .9rem; color: var(--dim) }
.some dd { color: var(--accent) }
.stages small { display: block; line-height: 1.4 }
.below { margin-top: 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line);
  font-size: .9rem }
th, td { text-align: left; padding: .4rem .7rem; border-top: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; color: var(--dim); white-space: nowrap }
td:nth-child(5) { overflow-wrap: anywhere }
code { font: .85rem/1.4 ui-monospace, monospace }
@media (max-width: 44rem) {
  thead { position: absolute; clip-path: inset(50%) }
  tr, td { display: block }
  tr { border-top: 1px solid var(--line); padding: .5rem 0 }
  td { border: 0; text-align: left; padding: .1rem .7rem .1rem 8rem; position: relative; white-space: normal }
  td:nth-child(n) { overflow-wrap: anywhere }
  td::before { content: attr(data-label); position: absolute; left: .7rem; color: var(--dim) }
}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
]

_STAGES: Final = {
    "RECEIVING": "a body is collected",
    "QUEUED": "wait for a worker",
    "WORKING": "a module runs",
    "PARKED": "hold no thread",
    "RESPONDING": "an answer goes out",
    "TUNNELLING": "bytes go both ways",
}
_PARKED: Final = ("Waits for", "At", "Since", "Time left", "Request", "Module", "Client", "Id")
_STALLED: Final = ("At", "For", "Module", "Request")
_SERVERS: Final = ("Server", "Open", "Idle", "Opening", "Waiting")


def page(overview: Mapping[str, Any]) -> str:
    """The page, in HTML; `overview` is what ``status.json`` holds, with ``version``, ``uptime_s`` and ``upstreams``."""
    parts = [
        f"<header><h1>asyncproxy</h1><p>{escape(overview['version'])}, up for {_lasting(overview['uptime_s'])}</p>"
        '<nav><a href="/status.json">status.json</a><a href="/metrics">metrics</a></nav></header>',
        _tiles(_figures(overview)),
        "<h2>Requests by stage</h2>",
        f'<div class="stages">{_tiles(_stages(overview))}</div>',
        *_watched(overview),
        "<h2>Upstream servers</h2>",
        _table(_SERVERS, [_server(*row) for row in overview["upstreams"].items()], "None has been asked yet."),
        "<h2>Parked requests</h2>",
        _table(_PARKED, [_parked(row) for row in overview["parked"]], "None."),
        _rest(overview),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>asyncproxy</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _figures(overview: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    workers = overview["workers"]
    return [
        ("Busy workers", workers["busy"], f"of {workers['total']}"),
        ("Queued turns", workers["queued"], ""),
        ("Parked requests", overview["parked_total"], ""),
        ("Served requests", overview["served"], ""),
    ]


def _stages(overview: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    return [(stage.capitalize(), count, _STAGES.get(stage, "")) for stage, count in overview["stages"].items()]


def _tiles(figures: Iterable[tuple[str, int, str]]) -> str:
    return f"<dl>{''.join(_tile(*figure) for figure in figures)}</dl>"


def _tile(name: str, value: int, words: str) -> str:
    kind = ' class="some"' if value else ""
    return f"<div{kind}><dt>{escape(name)}</dt><dd>{value:,} <small>{escape(words)}</small></dd></div>"


def _watched(overview: Mapping[str, Any]) -> list[str]:
    """What keeps a worker, or kept the polling thread, for too long, if anything does or did."""
    parts, held = [], overview["held"]
    if overview["stalled"]:
        parts = ["<h2>Workers that are kept for long</h2>", _table(_STALLED, list(map(_stalled, overview["stalled"])))]
    if held["holds"]:
        times = f"{held['holds']:,} time{'s' if held['holds'] > 1 else ''}"
        latest = f"{_code(held['latest']['at'])}, for {_lasting(held['latest']['for_s'])}"
        words = (
            f"The polling thread was held {times}, for {_lasting(held['longest_s'])} at most; the latest at {latest}."
        )
        parts.append(f'<p class="note below">{words}</p>')
    return parts


def _stalled(row: Mapping[str, Any]) -> list[str]:
    module, identity = row["module"] or "a call from outside any request", row["id"] or ""
    return [_code(row["at"]), _lasting(row["for_s"]), escape(module), _code(identity)]


def _server(name: str, counts: Mapping[str, int]) -> list[str]:
    return [_code(name), *(f"{counts[key]:,}" for key in ("open", "idle", "opening", "waiting"))]


def _parked(row: Mapping[str, Any]) -> list[str]:
    deadline = row["deadline_s"]
    return [
        escape(row["waiting_for"]),
        _code(row["at"]),
        _lasting(row["since_s"]),
        "no limit" if deadline is None else _lasting(deadline),
        _code(f"{row['method']} {row['path']}"),
        escape(row["module"]),
        _code(row["client"]),
        _code(row["id"]),
    ]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "") -> str:
    """A table of cells that are HTML already; on a phone each cell shows its column's name."""
    if not rows:
        return f'<p class="note">{empty}</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{_cells(names, row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(names: Sequence[str], row: Sequence[str]) -> str:
    return "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in zip(names, row, strict=True))


def _rest(overview: Mapping[str, Any]) -> str:
    rows, total = overview["parked"], overview["parked_total"]
    if len(rows) == total:
        return ""
    words = f"The {len(rows):,} eldest of {total:,}; all of them are in"
    return f'<p class="note">{words} <a href="/status.json">status.json</a>, by <code>?after=ID</code>.</p>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def _lasting(seconds: float) -> str:
    """A time as people say it: two units, of which the smaller is dropped when it is nothing."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {part_name}" if rest else "")
    raise AssertionError("a minute is left")
