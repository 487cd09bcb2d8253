"""The proxy as a Twisted service, alone in its process: tuning, signals, exit status."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from asyncproxy import __version__
from asyncproxy.configuration import ConfigurationError
from asyncproxy.service.hooks import NotStarted
from asyncproxy.service.proxy import Proxy
from asyncproxy.service.reloading import Change, NotReloaded
from asyncproxy.service.signals import Signals

_log = Logger()
SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that computes must let the polling thread run; Python's own is ten times that."""
HURRY: Final = 1.0
"""Seconds that modules have for their clean-up when the process is to end at once."""
COLLECTOR_THRESHOLDS: Final = (50_000, 20, 100)


class ProxyService(Service):
    """A proxy as a Twisted service: what ``twistd asyncproxy`` runs, alone in its process."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._restore: list[Any] = []
        self._failure: Any = None
        self._told = 0
        self._reloading = False
        self._reload_again = False
        table = {
            "SIGTERM": self._told_to_end,
            "SIGINT": self._told_to_end,
            "SIGHUP": self._told_to_reload,
            "SIGUSR1": proxy.reopen_logs,
        }
        proxy.told_to_drain = self._told_to_end
        self._signals = Signals(table, shared=["SIGUSR1"])  # twistd rotates its own log file by it

    def startService(self) -> None:
        """Tune the process and start the proxy. Raises what keeps it from listening, so that twistd ends at once."""
        super().startService()  # type: ignore[no-untyped-call]
        self._tune()
        self.proxy.start().addCallbacks(self._started, self._could_not_start)
        if self._failure is not None:
            sys.tracebacklimit = 0  # a port that is taken is no defect: its words are enough
            raise self._failure.value from None
        reactor = self.proxy.reactor
        reactor.callWhenRunning(self._signals.install, reactor)

    def stopService(self) -> Deferred[None]:
        """Drain the proxy for `server.drain` and stop it, then put back what the process had before.

        If requests were cut the process will exit with status 1.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self.proxy.drain().addCallback(self._ended)

    def _ended(self, cut: list[str]) -> None:
        if cut:
            atexit.register(_exit_with, 1)  # whatever stops its reactor, twistd exits with 0
        self._signals.restore()
        while self._restore:
            call, *args = self._restore.pop()
            call(*args)

    def _told_to_end(self) -> None:
        """SIGTERM or SIGINT: drain; the second one ends what drains, the third one everything."""
        self._told += 1
        if self._told == 1:
            _log.info("Told to end: draining; told again, everything ends at once")
            if self.proxy.reactor.running and self.running:
                self.proxy.reactor.stop()  # which stops this service, as all others of the process
        elif self._told == 2:
            self.proxy.stop(patience=HURRY)
        else:
            _exit_with(1)

    def _told_to_reload(self) -> None:
        """SIGHUP: once more when this is through, if told again meanwhile; after the start, if that is not through."""
        self._reload_again = self._reloading or self.proxy.starting
        if not self._reload_again:
            self._reloading = True
            self.proxy.reload().addCallbacks(_say_reloaded, _say_not_reloaded).addCallback(self._reload_is_through)

    def _reload_is_through(self, _said: None) -> None:
        self._reloading = False
        if self._reload_again:
            self._told_to_reload()

    def _tune(self) -> None:
        """For thousands of requests: threads give way sooner, and the collector looks less often at what lives long."""
        self._restore = [(sys.setswitchinterval, sys.getswitchinterval()), (gc.set_threshold, *gc.get_threshold())]
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)

    def _started(self, _result: None) -> None:
        proxy = self.proxy
        _log.info("asyncproxy {version} listens on {what}", version=__version__, what=proxy.summary())
        if self._reload_again:
            self._told_to_reload()

    def _could_not_start(self, failure: Any) -> None:
        """Most failures come before the reactor runs; then `startService` raises."""
        if not self.running:
            return  # it was told to end before it was ready
        _log.critical("asyncproxy cannot start: {why}", why=failure.getErrorMessage())
        reactor = self.proxy.reactor
        if reactor.running:
            atexit.register(_exit_with, 1)  # whatever stops its reactor, twistd exits with 0
            reactor.stop()
        else:
            self._failure = failure


def _say_reloaded(change: Change) -> None:
    _log.info("Reloaded: {change}", change=change)
    if change.fixed:
        keys = ", ".join(change.fixed)
        _log.warn("{keys} cannot change while the proxy runs and stay as they were: restart it", keys=keys)


def _say_not_reloaded(failure: Failure) -> None:
    known = failure.check(ConfigurationError, NotStarted, NotReloaded, ValueError)
    kind = "" if known else f"{failure.type.__name__}: " if failure.type else ""
    _log.error("Not reloaded, nothing has changed: {kind}{why}", kind=kind, why=failure.getErrorMessage())


def _exit_with(status: int) -> None:
    """As the last thing at exit: the status that twistd does not give."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
