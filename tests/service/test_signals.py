import signal

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from asyncproxy.service.signals import Signals


class Reactor:
    def __init__(self):
        self.asked = []

    def callFromThread(self, call):
        self.asked.append(call)


@pytest.fixture
def taken(reactor):
    """SIGTERM as a reactor with handlers of its own has it."""

    def reactors(*_):
        raise AssertionError("the reactor's own handler was called")

    # The real one takes its signals when it begins to run, which is with the first test otherwise.
    pytest_twisted.blockon(deferLater(reactor, 0))
    before = signal.signal(signal.SIGTERM, reactors)
    yield reactors
    signal.signal(signal.SIGTERM, before)


def test_a_signal_asks_the_polling_thread(taken):
    reactor, calls = Reactor(), []
    signals = Signals({"SIGTERM": lambda: calls.append("ended")})
    signals.install(reactor)
    signal.raise_signal(signal.SIGTERM)
    signals.restore()
    assert calls == []
    (call,) = reactor.asked
    call()
    assert calls == ["ended"]


def test_what_was_there_is_put_back(taken):
    before = signal.getsignal(signal.SIGHUP)
    signals = Signals({"SIGTERM": print, "SIGHUP": print})
    signals.install(Reactor())
    assert repr(signals) == "<Signals SIGTERM, SIGHUP>"
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) is taken
    assert signal.getsignal(signal.SIGHUP) is before
    assert repr(signals) == "<Signals not installed>"


def test_what_somebody_else_has_put_there_since_stays(taken):
    signals = Signals({"SIGTERM": print})
    signals.install(Reactor())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_signals_are_left_alone_when_the_reactor_leaves_them_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        signals = Signals({"SIGTERM": print})
        signals.install(Reactor())
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_the_platform_has_not_is_left_out(taken):
    signals = Signals({"SIGNONSENSE": print})
    signals.install(Reactor())
    assert repr(signals) == "<Signals not installed>"


def test_whoever_shares_a_signal_is_called_too(taken):
    heard, calls, reactor = [], [], Reactor()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("twistd"))
    try:
        signals = Signals({"SIGUSR1": lambda: calls.append("ours")}, shared=["SIGUSR1"])
        signals.install(reactor)
        signal.raise_signal(signal.SIGUSR1)
        signals.restore()
    finally:
        signal.signal(signal.SIGUSR1, before)
    (call,) = reactor.asked
    call()
    assert (heard, calls) == (["twistd"], ["ours"])
