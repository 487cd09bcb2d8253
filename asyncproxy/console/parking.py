"""The subcommands about what is parked, and tunnels: each asks the admin listener, and prints what came of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from asyncproxy.console.asking import Admin, Refused
from asyncproxy.console.tables import Column, lasting, plain, table
from asyncproxy.console.values import value_of
from asyncproxy.exchange.units import duration

PAGE: Final = 1000
"""Rows that are asked for at a time."""
COLUMNS: Final = (
    Column("ID"),
    Column("AGE"),
    Column("LEFT"),
    Column("WAITING FOR", 18),
    Column("AT", 14, tail=True),
    Column("REQUEST", 16),
    Column("MODULE", 12, tail=True),
    Column("CLIENT"),
)


def ps_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ps``."""
    parser.add_argument("--filter", metavar="TEXT", default="", help="only rows that have this text in any column")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids alone")


def ps(admin: Admin, args: argparse.Namespace) -> int:
    """List what is parked, and tunnels."""
    rows = [row for row in rows_of(admin) if _matches(row, args.filter)]
    if args.json:
        print_json(rows)
    elif args.quiet:
        say(*(plain(row["id"]) for row in rows))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        say(*table(COLUMNS, [cells(row) for row in rows], width))
    return 0


def rows_of(admin: Admin) -> Iterator[Mapping[str, Any]]:
    """All rows of what is parked, then of tunnels, each the eldest first; page by page, so some may go meanwhile."""
    first = _page(admin)
    for kind, rows in (("parked", first["parked"]), ("tunnels", first.get("tunnels", ()))):
        while True:
            yield from rows
            if len(rows) < PAGE:
                break
            rows = _page(admin, after=rows[-1]["id"]).get(kind, ())


def _page(admin: Admin, **after: str) -> Mapping[str, Any]:
    page: Mapping[str, Any] = admin.get(f"/status.json?{urlencode({'limit': PAGE, **after})}")
    return page


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of ``status.json``, by `COLUMNS`."""
    return [
        row["id"],
        lasting(row["since_s"]),
        lasting(row["deadline_s"]),
        row["waiting_for"],
        row["at"],
        f"{row['method']} {row['path']}",
        row["module"],
        row["client"],
    ]


def resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``resume``."""
    parser.add_argument("name", metavar="NAME", type=_name, help="the ticket")
    parser.add_argument(
        "value", metavar="VALUE", nargs="*", help="JSON, or key=value pairs that make an object; true without any"
    )
    parser.set_defaults(many="value")
    parser.add_argument("--bind", metavar="DIGEST", help="what the ticket is bound to, for one that is")


def resume(admin: Admin, args: argparse.Namespace) -> int:
    """Settle a ticket."""
    path = f"/tickets/{quote(args.name, safe='')}"
    if args.bind is not None:
        path += f"?bind={_segment(args, args.bind)}"
    try:
        value = value_of(args.value)
    except ValueError as why:
        args.parser.error(str(why))
    answer = admin.post(path, value)
    if answer["state"] == "remembered":
        words = f"{args.name}: remembered for {answer['for_s']:g} s, for nobody waits for it yet"
    else:
        words = f"{args.name}: {answer['state']}, request {answer['request']} goes on"
    tell(args, answer, words)
    return 0


def cancel_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cancel``."""
    parser.add_argument("ids", metavar="ID", nargs="+", help="the request's id, as ps shows it")
    parser.set_defaults(many="ids")
    parser.add_argument("--status", metavar="N", type=_status, default=503, help="what its client gets (503)")


def cancel(admin: Admin, args: argparse.Namespace) -> int:
    """End parked requests; goes on with the others when one cannot be."""
    ended = 0
    paths = {identity: f"/requests/{_segment(args, identity)}/cancel" for identity in args.ids}
    for identity, path in paths.items():
        try:
            answer = admin.post(path, {"status": args.status})
        except Refused as why:
            print(f"asyncproxy: {plain(identity)}: {plain(str(why))}", file=sys.stderr)
            ended = 1
        else:
            told = answer["status"]
            how = "cut, for its response had begun" if told is None else f"answered {told}"
            tell(args, answer, f"{identity}: {how}")
    return ended


def extend_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``extend``."""
    parser.add_argument("id", metavar="ID", help="the request's id, as ps shows it")
    parser.add_argument("by", metavar="TIME", type=_duration, help="how much longer, such as 5m")


def extend(admin: Admin, args: argparse.Namespace) -> int:
    """Give a parked request more time."""
    answer = admin.post(f"/requests/{_segment(args, args.id)}/extend", {"by": args.by})
    tell(args, answer, f"{args.id}: {lasting(answer['deadline_s'])} left")
    return 0


def drain(admin: Admin, args: argparse.Namespace) -> int:
    """Have the proxy end as on SIGTERM."""
    tell(args, admin.post("/drain", {}), "draining: the proxy takes no more requests and ends when it has none")
    return 0


def tell(args: argparse.Namespace, answer: Any, words: str) -> None:
    """Print `words`, or the proxy's own `answer` if JSON is asked for."""
    if args.json:
        print_json(answer)
    else:
        say(plain(words))


def say(*lines: str) -> None:
    """Print `lines`."""
    for line in lines:
        print(line)


def print_json(value: Any) -> None:
    """Print `value` on a line."""
    print(json.dumps(value))


def _segment(args: argparse.Namespace, text: str) -> str:
    """What was typed, as it stands in a path; words behind an option come here without argparse's look at them."""
    try:
        segment = quote(text, safe="")
    except UnicodeEncodeError:  # bytes on the command line that are no text
        segment = ""
    if not segment:
        args.parser.error(f'"{plain(text)}" is no name: it is empty, or no text in UTF-8')
    return segment


def _matches(row: Mapping[str, Any], text: str) -> bool:
    return not text or any(text.casefold() in cell.casefold() for cell in _texts(cells(row)))


def _texts(found: Iterable[str]) -> Iterator[str]:
    for cell in found:
        yield plain(cell)


def _status(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 400 <= int(text) <= 599):
        raise argparse.ArgumentTypeError(f'"{text}" is no status: write a number from 400 to 599')
    return int(text)


def _name(text: str) -> str:
    """What can be in a path; all else about a name is the proxy's to say."""
    try:
        if text and text.encode():
            return text
    except UnicodeEncodeError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no name of a ticket: write it as ps shows it")


def _duration(text: str) -> str:
    try:
        duration(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None
    return text
