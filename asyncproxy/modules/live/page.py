"""The live page as it is first sent: what there is now, in HTML, for readers with a script and without one.

The rule: every text that is not ours is escaped: paths are what strangers send, and an operator's browser shows them.
The policy in `HEADERS` would stop what got through: no script but the page's own files runs, and none may make HTML of
text. What the script does later is to look the same: `rows.js` and `figures.js` have its half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

ROWS: Final = 100
"""Parked requests that the page is sent with; the script pages through all of them."""
WORKERS: Final = 16
"""Workers that are shown, free ones among them; of more, those that run something."""

HEADERS: Final = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
]

_TEMPLATE: Final = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
_STAGES: Final = {
    "RECEIVING": "a body is collected",
    "QUEUED": "wait for a worker",
    "WORKING": "a module runs",
    "PARKED": "hold no thread",
    "RESPONDING": "an answer goes out",
}
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_LEDGER: Final = ("receiving", "queued", "working", "parked", "upstream", "sending")
_SERVERS: Final = ("open", "idle", "opening", "waiting")


def page(view: Mapping[str, Any], *, operate: bool) -> str:
    """The page, in HTML, of what `Onlookers.view` gives; `operate` says whether something can be done about it."""
    rows, total, now = view["parked"], view["parked_total"], view["now"]
    return _TEMPLATE.substitute(
        operate=" data-operate" if operate else "",
        version=escape(view["version"]),
        uptime=lasting(view["uptime_s"]),
        figures="".join(_figures(view)),
        watched="".join(_watched(view)),
        workers="".join(_workers(view)),
        upstreams=_upstreams(view),
        rest=_rest(len(rows), total),
        rows="".join(_row(row, now) for row in rows),
        nothing_hidden="hidden" if rows else "",
    )


def _figures(view: Mapping[str, Any]) -> Iterable[str]:
    sample = view["sample"]
    rate, p50, p99 = sample[1:4] if sample else (None, None, None)
    yield _figure("rate", "Requests a second", "-" if rate is None else f"{rate:,.0f}", f"{view['served']:,} served")
    words = "median, none of late" if p99 is None else f"median, 99% {brief(p99)}"
    yield _figure("latency", "Latency", "-" if p50 is None else brief(p50), words)
    tunnelled = view["tunnelled"]
    passed = {"TUNNELLING": f"{sized(tunnelled['received'])} in, {sized(tunnelled['sent'])} out"}
    for stage, count in view["stages"].items():
        words = passed.get(stage) or _STAGES.get(stage, "")
        yield _figure(stage.lower(), stage.capitalize(), f"{count:,}", words, some=count > 0)


def _figure(key: str, name: str, value: str, words: str, *, some: bool = True) -> str:
    kind = "" if some else ' class="none"'
    return (
        f'<div id="figure-{key}"{kind}><dt>{escape(name)}</dt><dd><span class="value">{escape(value)}</span> '
        f"<small>{escape(words)}</small></dd></div>"
    )


def _watched(view: Mapping[str, Any]) -> Iterable[str]:
    """What held the polling thread for too long, if anything did."""
    held = view["held"]
    if held["holds"]:
        times = f"{held['holds']:,} time{'s' if held['holds'] > 1 else ''}"
        latest = f"{_code(held['latest']['at'])}, for {lasting(held['latest']['for_s'])}"
        yield (
            f'<p class="warning">The polling thread was held {times}, for {lasting(held["longest_s"])} at most; '
            f"the latest at {latest}.</p>"
        )


def _workers(view: Mapping[str, Any]) -> Iterable[str]:
    running, total = view["running"], view["workers"]["total"]
    long = {row["id"] for row in view["stalled"]}
    shown = list(enumerate([*running, *[None] * (total - len(running))], 1))
    if total > WORKERS:
        shown = [(number, run) for number, run in shown if run is not None]
    for number, run in shown:
        yield f'<li class="free" value="{number}">free</li>' if run is None else _worker(number, run, run["id"] in long)
    if total > WORKERS:
        yield f'<li class="free rest">{total - len(shown)} of {total} are free</li>'
    if queued := view["workers"]["queued"]:
        yield f'<li class="rest">{queued:,} turn{"s" if queued > 1 else ""} wait for a worker</li>'


def _worker(number: int, run: Mapping[str, Any], long: bool) -> str:
    module = escape(run["module"] or "a call from outside any request")
    who = f'<span class="who"><b>{module}</b> {_code(run["request"] or "")}</span>'
    where = f'<span class="where">{_code(run["at"])} {_code(run["source"])}</span>'
    since = f'<span class="for">{lasting(run["for_s"])}</span>'
    return f'<li value="{number}" class="{"long" if long else "busy"}">{who} {where} {since}</li>'


def _upstreams(view: Mapping[str, Any]) -> str:
    servers = view["upstreams"]
    if not servers:
        return '<p class="note">None has been asked yet.</p>'
    names = "".join(f'<th scope="col">{name.capitalize()}</th>' for name in _SERVERS)
    rows = "".join(
        f'<tr><th scope="row">{_code(name)}</th>{"".join(f"<td>{counts[key]:,}</td>" for key in _SERVERS)}</tr>'
        for name, counts in servers.items()
    )
    rest = view["upstreams_total"] - len(servers)
    more = f'<p class="note">and {rest:,} more, in status.json</p>' if rest > 0 else ""
    return f'<table class="servers"><thead><tr><th scope="col">Server</th>{names}</tr></thead>{rows}</table>{more}'


def _rest(shown: int, total: int) -> str:
    if shown >= total:
        return f"{total:,}"
    return f"{total:,}, of which these are the {shown} eldest"


def _row(row: Mapping[str, Any], now: float) -> str:
    until = "no limit" if row["until"] is None else f"in {lasting(max(0.0, row['until'] - now))}"
    cells = (
        ("for", lasting(max(0.0, now - row["since"]))),
        ("at", f"{_code(row['at'])} {_code(row['source'])}"),
        ("waits", escape(row["waiting_for"])),
        ("until", until),
        (
            "request",
            f"{_code(row['method'] + ' ' + row['path'])} {_small(row['client'], row['id'])}",
        ),
        ("module", f"{escape(row['module']).replace(':', ':<wbr>')} {_small(row['route'])}"),
        ("time", _bar(row, now)),
    )
    return f'<tr role="row">{"".join(f"""<td role="cell" class="{kind}">{html}</td>""" for kind, html in cells)}</tr>'


def _bar(row: Mapping[str, Any], now: float) -> str:
    """The ledger as a bar; what passed since the last step is booked under what it waits for."""
    spent = list(row["spent"])
    spent[row["column"]] += max(0.0, now - row["stepped"])
    total = sum(spent) or 1.0
    words = ", ".join(f"{name} {brief(one)}" for name, one in zip(_LEDGER, spent, strict=True) if one)
    parts, left = [], 0.0
    for name, one in zip(_LEDGER, spent, strict=True):
        width = 100 * one / total
        parts.append(f'<rect class="{name}" x="{left:.2f}" width="{width:.2f}" height="8"/>')
        left += width
    return (
        f'<svg class="ledger" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )


def _small(*texts: str) -> str:
    return f"<small>{' '.join(f'<span>{escape(text)}</span>' for text in texts)}</small>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def brief(seconds: float) -> str:
    """A duration that may be short."""
    if seconds >= 0.9995:
        return lasting(seconds)
    return f"{seconds * 1000:.2g} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"


def lasting(seconds: float) -> str:
    """A time as people say it: two units, of which the smaller is dropped when it is nothing."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {part_name}" if rest else "")
    raise AssertionError("a minute is left")


def sized(size: int) -> str:
    """Bytes as people say them: ``512 B``, ``1.5 KiB``, ``320 MiB``."""
    step = 0 if size < 1024 else min(4, (size.bit_length() - 1) // 10)
    count = size / 1024**step
    return f"{count:.1f} {_SIZES[step]}" if step and count < 9.95 else f"{int(count)} {_SIZES[step]}"
