import errno
import os
import socket

import pytest
import pytest_twisted
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from asyncproxy.polling import descriptors
from asyncproxy.polling.descriptors import LOOK, RETRY, Ceiling, in_use
from asyncproxy.polling.gate import Gate
from asyncproxy.polling.native_listening import UNSENT_IN_KERNEL, NativeTCPPort
from asyncproxy.polling.transports import network
from asyncproxy.testing import Clock
from tests.fakes import House


class Port:
    def __init__(self):
        self.reading = True
        self.refuses = False

    def stopReading(self):
        self.reading = False

    def startReading(self):
        if self.refuses:
            raise OSError(errno.EMFILE, "Too many open files")
        self.reading = True


class Table:
    """A process's descriptors: how many are open, of 100, and how often that was asked."""

    def __init__(self, used):
        self.used = used
        self.counts = 0

    def __call__(self):
        self.counts += 1
        return self.used, 100.0


def ceiling(used=0):
    clock, table, port = Clock(), Table(used), Port()
    watch = Ceiling(Gate(clock), clock, table)
    watch.gate.ports.append(port)
    return watch, clock, table, port


def test_accepting_pauses_before_none_is_left_and_goes_on_when_some_are_free():
    watch, clock, table, port = ceiling(84)
    watch.accepted()
    assert not port.reading
    clock.advance(RETRY * 3)
    assert not port.reading
    table.used = 83
    clock.advance(RETRY)
    assert port.reading
    assert watch.gate.statistics() == {"paused": 0, "pauses": 1}
    assert repr(watch) == "<Ceiling over <Gate of 1 ports, open, 1 pauses>>"
    assert clock.getDelayedCalls() == []


def test_it_counts_when_a_quarter_of_what_was_free_is_given_away():
    watch, _, table, port = ceiling(0)
    for _ in range(20):
        watch.accepted()
    assert table.counts == 1
    for _ in range(2):
        watch.accepted()
    assert table.counts == 2
    assert port.reading


def test_a_count_is_good_for_a_second():
    watch, clock, table, port = ceiling(0)
    watch.accepted()
    table.used = 99
    clock.advance(LOOK)
    watch.accepted()
    assert table.counts == 2
    assert not port.reading


def test_the_log_has_a_line_a_second_at_most():
    watch, clock, table, _ = ceiling(99)
    with capturedLogs() as logged:
        for _ in range(15):
            table.used = 99
            watch.accepted()
            table.used = 0
            clock.advance(RETRY)
            watch._good_until = 0
    said = [formatEvent(event) for event in logged]
    assert said[0] == "Accepting pauses: 99 of 100 file descriptors are in use. Raise the limit (ulimit -n)"
    assert len(said) == 2


def test_a_port_that_cannot_go_on_pauses_again():
    watch, clock, table, port = ceiling(99)
    watch.accepted()
    table.used, port.refuses = 0, True
    clock.advance(RETRY)
    assert not port.reading
    assert watch.gate.paused
    port.refuses = False
    clock.advance(RETRY)
    assert port.reading


def test_room_is_left_for_the_batch_that_a_port_of_twisteds_accepts_at_once():
    watch, clock, _, port = ceiling(60)
    port.numberAccepts = 30
    watch.accepted()
    assert not port.reading
    clock.advance(RETRY)
    assert port.reading, "its next batch is small"
    assert port.numberAccepts == 1


def test_a_ceiling_that_is_stopped_has_no_timer():
    watch, clock, _, port = ceiling(99)
    watch.accepted()
    watch.stop()
    assert clock.getDelayedCalls() == []
    assert not port.reading


def test_it_knows_how_many_this_process_has_open():
    before, limit = in_use()
    with socket.socket():
        assert in_use() == (before + 1, limit)


def test_a_table_that_is_full_cannot_be_listed(monkeypatch):
    def full(_place):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", full)
    used, limit = in_use()
    assert used == limit


def test_where_descriptors_cannot_be_counted_nothing_pauses(monkeypatch):
    monkeypatch.setattr(descriptors, "_LISTS", ("/no/such/place",))
    assert in_use()[0] == 0
    monkeypatch.setattr(descriptors, "resource", None)
    assert in_use() == (0, float("inf"))
    clock = Clock()
    watch = Ceiling(Gate(clock), clock)
    watch.accepted()
    assert not watch.gate.paused


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_forward_for_which_no_descriptor_is_left_is_a_503(number):
    house = House("reverse")
    house.network.mode = "hang"
    client = house.get()
    asked = house.upstream()
    asked.failed = True
    asked.factory.clientConnectionFailed(asked, Failure(ConnectError(number, "Too many open files")))
    house.settle()
    assert client.status == 503
    house.assert_nothing_left()


class Counting(Factory):
    noisy = False

    def __init__(self):
        self.made = []

    def buildProtocol(self, address):
        self.made.append(Protocol())
        return self.made[-1]


@pytest_twisted.ensureDeferred
async def test_a_port_that_pauses_lets_them_wait_and_then_in(reactor):
    factory = Counting()
    port = network(reactor).listenTCP(0, factory, interface="127.0.0.1")
    try:
        port.stopReading()
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            await deferLater(reactor, 0.02)
            assert factory.made == []
            port.startReading()
            while not factory.made:
                await deferLater(reactor, 0.005)
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            factory.made[0].transport.abortConnection()
            await deferLater(reactor, 0.005)
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_port_may_be_stopped_while_it_pauses(reactor):
    port = network(reactor).listenTCP(0, Counting(), interface="127.0.0.1")
    address = "127.0.0.1", port.getHost().port
    port.stopReading()
    await port.stopListening()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_of_many_descriptors_a_bounded_number_is_left_to_what_runs():
    clock, port = Clock(), Port()
    used = [19_743]
    watch = Ceiling(Gate(clock), clock, lambda: (used[0], 20_000.0))
    watch.gate.ports.append(port)
    watch.accepted()
    assert port.reading
    used[0] += 1
    watch.accepted()
    assert not port.reading
    watch.stop()


def test_a_count_that_takes_long_is_good_for_longer():
    clock, counts = Clock(), []

    def count():
        counts.append(clock.seconds())
        clock.advance(0.01)
        return 100, 20_000.0

    watch = Ceiling(Gate(clock), clock, count)
    for _ in range(60):
        watch.accepted()
        clock.advance(0.1)
    assert len(counts) == 2


@pytest_twisted.ensureDeferred
async def test_what_is_unsent_to_a_slow_client_stays_out_of_the_kernel_but_for_a_bounded_part(reactor):
    factory = Counting()
    port = network(reactor).listenTCP(0, factory, interface="127.0.0.1")
    try:
        if not isinstance(port, NativeTCPPort):
            pytest.skip("Twisted's own ports listen as they do")
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            while not factory.made:
                await deferLater(reactor, 0.005)
            transport = factory.made[0].transport
            assert transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_IN_KERNEL
            transport.abortConnection()
            await deferLater(reactor, 0.005)
    finally:
        await port.stopListening()
