from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor

from asyncproxy.polling.unsent import count_unsent


class Reactor:
    """Lets a descriptor wait to write for ever."""

    def addWriter(self, _descriptor: Any) -> None: ...


class Narrow(FileDescriptor):
    """A descriptor whose kernel takes three bytes at a time."""

    def writeSomeData(self, data: bytes) -> int:
        return min(3, len(data))


def test_what_one_of_twisteds_transports_keeps_is_counted_to_the_byte() -> None:
    transport: Any = Narrow(Reactor())  # type: ignore[arg-type]
    transport.connected = 1
    assert count_unsent(transport) == 0
    transport.write(b"0123456789")
    transport.write(b"01")
    assert count_unsent(transport) == 12
    transport.doWrite()
    assert count_unsent(transport) == 9
    transport.write(b"0")
    assert count_unsent(transport) == 10


def test_what_a_transport_of_ours_says_is_taken() -> None:
    class Native:
        unsent = 7

    assert count_unsent(Native()) == 7
