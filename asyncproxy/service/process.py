"""The proxy as a Twisted service, alone in its process: tuning, signals, exit status."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from asyncproxy import __version__
from asyncproxy.service.proxy import Proxy

_log = Logger()
SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that computes must let the polling thread run; Python's own is ten times that."""
COLLECTOR_THRESHOLDS: Final = (50_000, 20, 100)


class ProxyService(Service):
    """A proxy as a Twisted service: what ``twistd asyncproxy`` runs, alone in its process."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._restore: list[Any] = []
        self._failure: Any = None

    def startService(self) -> None:
        """Tune the process and start the proxy. Raises what keeps it from listening, so that twistd ends at once."""
        super().startService()  # type: ignore[no-untyped-call]
        self._tune()
        self.proxy.start().addCallbacks(self._started, self._could_not_start)
        if self._failure is not None:
            sys.tracebacklimit = 0  # a port that is taken is no defect: its words are enough
            raise self._failure.value from None

    def stopService(self) -> Deferred[None]:
        """Stop the proxy, and put the process' tuning back."""
        super().stopService()  # type: ignore[no-untyped-call]
        while self._restore:
            call, *args = self._restore.pop()
            call(*args)
        return self.proxy.stop()

    def _tune(self) -> None:
        """For thousands of requests: threads give way sooner, and the collector looks less often at what lives long."""
        self._restore = [(sys.setswitchinterval, sys.getswitchinterval()), (gc.set_threshold, *gc.get_threshold())]
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)

    def _started(self, _result: None) -> None:
        proxy = self.proxy
        proxy.reactor.callWhenRunning(_end_well_on_sigterm, proxy.reactor)
        _log.info("asyncproxy {version} listens on {what}", version=__version__, what=proxy.summary())

    def _could_not_start(self, failure: Any) -> None:
        """Most failures come before the reactor runs; then `startService` raises."""
        _log.critical("asyncproxy cannot start: {why}", why=failure.getErrorMessage())
        reactor = self.proxy.reactor
        if reactor.running:
            atexit.register(_exit_with, 1)  # whatever stops its reactor, twistd exits with 0
            reactor.stop()
        else:
            self._failure = failure


def _end_well_on_sigterm(reactor: Any) -> None:
    """Let SIGTERM end the process with exit status 0: twistd would kill itself by the signal once it has stopped."""
    if callable(signal.getsignal(signal.SIGTERM)):  # else twistd was told to leave signals alone
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(_stop_on_sigterm, reactor))


def _stop_on_sigterm(reactor: Any) -> None:
    _log.info("Received SIGTERM, shutting down.")
    if reactor.running:
        reactor.stop()


def _exit_with(status: int) -> None:
    """As the last thing at exit: the status that twistd does not give."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
