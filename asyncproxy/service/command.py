"""The command line of ``twistd asyncproxy``."""

from __future__ import annotations

import os
import sys

from twisted.python import usage

import twisted
from asyncproxy import __version__
from asyncproxy.configuration import ConfigurationError, describe, from_options
from asyncproxy.service.policies import ticket_policies
from asyncproxy.service.process import ProxyService
from asyncproxy.service.proxy import Proxy


class Options(usage.Options):
    """The command line of ``twistd asyncproxy``."""

    synopsis = "[--config FILE | --listen ENDPOINT --upstream URL] [--workers N] [--admin ENDPOINT] [--check]"
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["upstream", "u", None, "Without a file: the server to forward to, such as http://127.0.0.1:9000."],
        ["workers", "w", None, "Without a file: how many worker threads (5)."],
        ["admin", "a", None, "Without a file: where status is served, such as tcp:8081:interface=127.0.0.1."],
    ]
    optFlags = [["check", None, "Read the configuration, say what each route does, and exit."]]
    proxy: Proxy

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Without a file: where to listen, such as tcp:8080:interface=127.0.0.1; repeatable."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Display the versions of asyncproxy and Twisted and exit."""
        print(f"asyncproxy {__version__}, Twisted {twisted.__version__}")  # noqa: T201 - it is what was asked for
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Make the proxy; with ``--check`` report and exit. uvloop's reactor comes first if none was asked for.

        For a module's file may import the reactor, and whoever is first decides which.
        """
        _see_modules_beside(self["config"])
        if not self["check"]:
            install_uvloop_reactor()
        try:
            self.proxy = self._make()
        except ConfigurationError as why:
            self._give_up(str(why))
        if self["check"]:
            print(describe(self.proxy.settings, ticket_policies(self.proxy.bindings)))  # noqa: T201 - it is what was asked for
            raise SystemExit(0)

    def _make(self) -> Proxy:
        if self["config"] is not None:
            if self["listen"] or self["upstream"] or self["workers"] or self["admin"]:
                raise usage.UsageError("--config says everything: leave --listen, --upstream, --workers, --admin out")
            return Proxy(self["config"])
        if not self["listen"] or self["upstream"] is None:
            raise usage.UsageError("give --config FILE, or --listen ENDPOINT and --upstream URL")
        return Proxy(from_options(self["listen"], self["upstream"], self["workers"], self["admin"]))

    def _give_up(self, why: str) -> None:
        if self["check"]:
            print(why, file=sys.stderr)  # noqa: T201 - the answer to --check
            raise SystemExit(1)
        raise usage.UsageError(why)


def makeService(options: Options) -> ProxyService:
    """What ``twistd`` runs."""
    return ProxyService(options.proxy)


def install_uvloop_reactor() -> None:
    """Install Twisted's asyncio reactor on uvloop, unless a reactor is there or the platform has no uvloop."""
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        import uvloop
    except ImportError:
        return
    from twisted.internet import asyncioreactor

    asyncioreactor.install(uvloop.new_event_loop())


def _see_modules_beside(config: str | None) -> None:
    """Modules named by dotted path are looked for in the working directory and beside the configuration."""
    places = [os.getcwd()]
    if config is not None:
        places.append(os.path.dirname(os.path.abspath(config)))
    for place in places:
        if place not in sys.path:
            sys.path.insert(0, place)
