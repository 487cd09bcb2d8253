"""The command line of `asyncproxy`, and the table of its subcommands.

Exit statuses: 0; 1 if the proxy refused, in its words; 2 for a command line that says nothing of use; 3 if no proxy is
reached.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from asyncproxy import __version__
from asyncproxy.console import advice, parking
from asyncproxy.console.asking import Admin, NotReached, Refused
from asyncproxy.console.tables import plain

ADMIN: Final = "http://127.0.0.1:8081"
REFUSED: Final = 1
NOT_REACHED: Final = 3


class Subcommand(NamedTuple):
    """A row of the table."""

    name: str
    summary: str
    run: Callable[[Admin, argparse.Namespace], int]
    """Does it, and gives the exit status; may raise `NotReached` and `Refused`."""
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    """Adds its arguments to its parser."""


SUBCOMMANDS: Final = (
    Subcommand("ps", "list the parked requests, the eldest first", parking.ps, parking.ps_arguments),
    Subcommand("resume", "resume whoever waits for a ticket", parking.resume, parking.resume_arguments),
    Subcommand("cancel", "end parked requests", parking.cancel, parking.cancel_arguments),
    Subcommand("extend", "give a parked request more time", parking.extend, parking.extend_arguments),
    Subcommand("drain", "let running requests finish, then end the proxy, as SIGTERM does", parking.drain),
    Subcommand("advise", "say what the pool of workers should be, and why", advice.advise, advice.advise_arguments),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own); gives the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that knows few characters gets the others written out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status


def _run(arguments: Sequence[str] | None) -> int:
    parser = command_line()
    args, rest = parser.parse_known_args(arguments)
    _take_rest(args, rest)
    try:
        admin = Admin(args.admin, args.token)
    except ValueError as why:
        parser.error(str(why))
    try:
        return int(args.run(admin, args))
    except Refused as why:
        return _give_up(why, REFUSED)
    except NotReached as why:
        return _give_up(why, NOT_REACHED)
    finally:
        admin.close()


def _take_rest(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Of a subcommand that takes many words, argparse leaves those behind an option to us."""
    many = getattr(args, "many", "")
    if rest and (not many or any(word.startswith("--") for word in rest)):
        args.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        getattr(args, many).extend(rest)


def command_line() -> argparse.ArgumentParser:
    """What reads the command line; options that all share may stand before or behind the subcommand."""
    parser = argparse.ArgumentParser(
        prog="asyncproxy",
        description="See and steer a running asyncproxy over its admin listener. (twistd asyncproxy starts one.)",
        epilog="exit status: 0 done, 1 refused by the proxy, 2 usage, 3 no proxy reached",
    )
    parser.add_argument("--version", action="version", version=f"asyncproxy {__version__}")
    defaults = {"admin": os.environ.get("ASYNCPROXY_ADMIN") or ADMIN, "token": os.environ.get("ASYNCPROXY_TOKEN")}
    parser.set_defaults(**defaults, json=False)
    shared = _shared()
    _add_shared(parser)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for row in SUBCOMMANDS:
        subparser = subparsers.add_parser(
            row.name, parents=[shared], help=row.summary, description=f"{row.summary[0].upper()}{row.summary[1:]}."
        )
        row.arguments(subparser)
        subparser.set_defaults(run=row.run, parser=subparser)
    return parser


def _shared() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    _add_shared(parser)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    unless = argparse.SUPPRESS  # what stands before the subcommand must not be lost to a default behind it
    admin = f"the admin listener: http://host:port, https://host:port or unix:/path; or ASYNCPROXY_ADMIN ({ADMIN})"
    token = "its token; ASYNCPROXY_TOKEN is better, for other users of the machine see arguments"
    parser.add_argument("--admin", metavar="URL", default=unless, help=admin)
    parser.add_argument("--token", metavar="TOKEN", default=unless, help=token)
    parser.add_argument("--json", action="store_true", default=unless, help="print what the proxy answers, as JSON")


def _give_up(why: Exception, status: int) -> int:
    print(f"asyncproxy: {plain(str(why))}", file=sys.stderr)
    return status
