"""Where a proxy listens, on the reactor's own transports."""

import pytest
import pytest_twisted

from asyncproxy.polling.clock import clock_of
from asyncproxy.polling.entrance import Entrance
from asyncproxy.service.hooks import NotStarted
from asyncproxy.service.ports import Ports
from tests.fakes import House

ANYWHERE = "tcp:0:interface=127.0.0.1"


def entrance_of(reactor):
    return Entrance(clock_of(reactor), House().settings.limits)


async def opened(reactor, entrance):
    """A public port and the admin's."""
    ports, house = Ports(), House()
    await ports.open_public(reactor, ANYWHERE, house.door, entrance)
    await ports.open_admin(reactor, ANYWHERE, House().door)
    return ports, house.door


@pytest_twisted.ensureDeferred
async def test_the_admin_s_port_stays_open_when_the_public_ones_close(reactor):
    ports, _ = await opened(reactor, entrance_of(reactor))
    public, admin = ports.addresses
    assert repr(ports) == f"<Ports 127.0.0.1:{public.port}, 127.0.0.1:{admin.port}>"
    await ports.close_public()
    assert ports.addresses == [admin]
    assert repr(ports) == f"<Ports 127.0.0.1:{admin.port}, closed>"
    await ports.close()
    assert ports.addresses == []
    assert ports.statistics() == {"ports": 0}


@pytest_twisted.ensureDeferred
async def test_the_entrance_guards_the_public_ports_alone(reactor):
    entrance = entrance_of(reactor)
    ports, door = await opened(reactor, entrance)
    assert [port.getHost() for port in entrance.gate.ports] == ports.addresses[:1]
    assert [each.accepted for each in ports.doors] == [entrance.ceiling.accepted, None]
    assert door.crowd is entrance.crowd
    assert ports.public_doors == [door]
    await ports.close()
    assert [each.open for each in ports.doors] == [False, False]


@pytest_twisted.ensureDeferred
async def test_none_is_opened_after_the_close(reactor):
    ports = Ports()
    ports.go_on()
    await ports.close()
    with pytest.raises(NotStarted, match="told to stop"):
        await ports.open_admin(reactor, ANYWHERE, House().door)
    assert ports.addresses == []


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_cannot_be_had_is_named_with_its_key(reactor):
    with pytest.raises(NotStarted, match=r'admin\.listen: "tpc:80" cannot be listened on'):
        await Ports().open_admin(reactor, "tpc:80", House().door)
