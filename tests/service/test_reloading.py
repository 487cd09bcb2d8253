import threading
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import Module, Response
from asyncproxy.configuration import ConfigurationError, load
from asyncproxy.service import NotReloaded, NotStarted, Proxy, ProxyService
from asyncproxy.service.reloading import LOOK, Retiring, fixed_keys, merged
from asyncproxy.testing import PollingRound, Wire
from tests.fakes import GET, House

HERE = "tests.service.test_reloading"
waits = pytest_twisted.ensureDeferred


class Noted(Module):
    """Counts its requests, so that it has state, and notes its hooks."""

    blocking = False
    whole_body = False
    name: str = "one"
    notes: list[str] = []

    def start(self):
        self.asked = 0
        self.notes.append("start")

    def stop(self):
        self.notes.append("stop")

    def handle(self, request):
        self.asked += 1
        return Response.text(f"{self.name} {self.asked}")


class Holds(Noted):
    async def handle(self, request):
        self.held = Deferred()
        return Response.text(f"{self.name} {await self.held}")


class Broken(Noted):
    def start(self):
        raise KeyError("no database")


def route(module, path="/", **settings):
    return {"path": path, "module": f"{HERE}:{module.__name__}", "settings": settings}


def config(*routes, server=None, **tables):
    server = {"listen": "tcp:0:interface=127.0.0.1", "workers": 1, **(server or {})}
    return {"server": server, "route": list(routes), **tables}


class Caller:
    """A client in memory of a proxy that runs."""

    def __init__(self, proxy):
        self.polling = PollingRound()
        self.wire = Wire(self.polling, proxy.doors[0].buildProtocol(None))

    def get(self):
        self.wire.out.clear()
        self.wire.arrive(GET)
        return self

    @property
    def body(self):
        return self.wire.out.decode().partition("\r\n\r\n")[2]

    def leave(self):
        self.wire.hang_up()


@asynccontextmanager
async def running(settings):
    from twisted.internet import reactor

    proxy = Proxy(settings, reactor)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


def module(proxy, number=0):
    return proxy.bindings[number].module


@waits
async def test_a_module_whose_route_and_settings_are_the_same_is_kept_with_its_state():
    async with running(config(route(Noted))) as proxy:
        kept = module(proxy)
        caller = Caller(proxy)
        assert caller.get().body == "one 1"
        change = await proxy.reload(config(route(Noted), route(Noted, "/new", name="two")))
        assert module(proxy) is kept
        assert caller.get().body == "one 2"
        assert kept.notes == ["start"]
        assert module(proxy, 1).notes == ["start"]
        assert str(change) == "2 routes, 1 of them with the module they had"
        caller.leave()


@waits
async def test_a_module_with_other_settings_takes_the_next_request_of_an_open_connection():
    async with running(config(route(Noted))) as proxy:
        old = module(proxy)
        caller = Caller(proxy)
        caller.get()
        await proxy.reload(config(route(Noted, name="two")))
        assert caller.get().body == "two 1"
        assert old.notes == ["start", "stop"]
        caller.leave()


@waits
async def test_what_runs_finishes_on_the_module_it_began_with_which_stops_then(reactor):
    proxy = Proxy(config(route(Holds)), reactor)
    await proxy.start()
    old, caller = module(proxy), Caller(proxy)
    caller.get()
    await proxy.reload(config(route(Holds, name="two")))
    assert old.notes == ["start"]
    old.held.callback("answered")
    await deferLater(reactor, 0)
    while not caller.body:
        await deferLater(reactor, 0.01)
    assert caller.body == "one answered"
    while old.notes != ["start", "stop"]:
        await deferLater(reactor, 0.01)
    caller.leave()
    await proxy.stop()


@waits
async def test_a_module_that_is_retiring_is_stopped_with_the_proxy(reactor):
    proxy = Proxy(config(route(Holds)), reactor)
    await proxy.start()
    old, caller = module(proxy), Caller(proxy)
    caller.get()
    await proxy.reload(config(route(Noted)))
    ended = proxy.stop()
    caller.leave()
    await ended
    assert old.notes == ["start", "stop"]
    assert [call for call in reactor.getDelayedCalls() if "Retiring" in repr(call)] == []


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"route": [{"module": "revers"}]}, ConfigurationError, "revers"),
        ({"limits": {"head": "much"}}, ConfigurationError, "limits.head"),
        ({"route": [route(Noted, "/new"), route(Broken)]}, NotStarted, "no database"),
    ],
)
@waits
async def test_what_cannot_be_had_changes_nothing(change, error, words):
    async with running(config(route(Noted))) as proxy:
        before = proxy.settings, proxy.bindings, proxy.upstreams
        with pytest.raises(error, match=words):
            await proxy.reload({**config(), **change})
        assert (proxy.settings, proxy.bindings, proxy.upstreams) == before
        assert module(proxy).notes == ["start"]
        caller = Caller(proxy)
        assert caller.get().body == "one 1"
        caller.leave()


@waits
async def test_all_problems_are_told():
    async with running(config(route(Noted))) as proxy:
        with pytest.raises(ConfigurationError) as caught:
            await proxy.reload(config(route(Noted), {"path": "/a", "module": "revers"}, server={"wrokers": 3}))
        first, second = caught.value.problems
        assert "wrokers" in first
        assert "revers" in second


@waits
async def test_limits_change_for_connections_that_are_open():
    async with running(config(route(Noted))) as proxy:
        caller = Caller(proxy)
        caller.get()
        changed = config(route(Noted), server={"max_parked": 7, "max_queued": 8, "drain": "9s"}, limits={"head": "20B"})
        await proxy.reload(changed)
        assert (proxy.lot.limit, proxy.flow.max_queued, proxy.settings.server.drain) == (7, 8, 9.0)
        assert caller.get().wire.out.startswith(b"HTTP/1.1 431 ")
        caller.leave()


@waits
async def test_what_cannot_change_is_named_and_stays():
    async with running(config(route(Noted))) as proxy:
        changed = config(
            route(Noted), server={"listen": "tcp:1", "workers": 9}, admin={"listen": "tcp:2:interface=127.0.0.1"}
        )
        change = await proxy.reload(changed)
        assert change.fixed == ("server.listen", "server.workers", "admin")
        assert proxy.settings.server.workers == 1
        assert proxy.settings.admin is None


def test_keys_that_can_change_are_not_named():
    old = load(config(route(Noted)))
    new = load(config(route(Noted), server={"max_parked": 3, "drain": "1s"}, limits={"head": "9KiB"}))
    assert fixed_keys(old, new) == ()
    assert merged(old, new) == new


@waits
async def test_a_proxy_reads_its_file_again(tmp_path):
    file = tmp_path / "proxy.toml"
    text = f'[server]\nlisten = "tcp:0:interface=127.0.0.1"\n[[route]]\nmodule = "{HERE}:Noted"\nsettings.name = '
    file.write_text(f"{text}'one'")
    async with running(file) as proxy:
        file.write_text(f"{text}'two'")
        await proxy.reload()
        assert module(proxy).name == "two"
        file.write_text("nonsense")
        with pytest.raises(ConfigurationError, match=f"^{file}: .*not TOML"):
            await proxy.reload()
        assert module(proxy).name == "two"


@waits
async def test_a_proxy_without_a_file_must_be_told_what_to_load():
    async with running(config(route(Noted))) as proxy:
        with pytest.raises(ValueError, match="without a file"):
            await proxy.reload()


@waits
async def test_a_proxy_that_does_not_run_is_not_reloaded(reactor):
    proxy = Proxy(config(route(Noted)), reactor)
    with pytest.raises(NotReloaded):
        await proxy.reload(config(route(Noted)))
    await proxy.start()
    await proxy.stop()
    with pytest.raises(NotReloaded):
        await proxy.reload(config(route(Noted)))


@waits
async def test_a_proxy_that_stops_while_it_reloads_leaves_nothing_behind(reactor):
    before = threading.active_count()
    proxy = Proxy(config(route(Noted)), reactor)
    await proxy.start()
    reloading = proxy.reload(config(route(Noted, name="two")))
    await proxy.stop()
    with pytest.raises(NotReloaded):
        await reloading
    assert module(proxy).notes == ["start", "stop"]
    assert threading.active_count() == before


@waits
async def test_reloads_come_one_after_the_other():
    async with running(config(route(Noted))) as proxy:
        first = proxy.reload(config(route(Noted, name="two")))
        second = proxy.reload(config(route(Noted, name="three")))
        await second
        assert first.called
        assert module(proxy).name == "three"


@waits
async def test_what_is_shown_is_what_there_is_now():
    async with running(config(route(Noted), upstream={"a": A})) as proxy:
        await proxy.reload(config(route(Noted), upstream={"b": B}))
        assert list(proxy.overview()["upstreams"]) == ["http://127.0.0.1:9002"]
        assert b"9001" not in proxy.metrics()


# SIGHUP.


async def through(service):
    while service._reloading:
        await deferLater(service.proxy.reactor, 0.005)


@waits
async def test_sighup_says_what_changed_and_what_could_not(tmp_path):
    file = tmp_path / "proxy.toml"
    text = f'[[route]]\nmodule = "{HERE}:Noted"\n[server]\nlisten = "tcp:0:interface=127.0.0.1"\n'
    file.write_text(text)
    async with running(file) as proxy:
        service = ProxyService(proxy)
        file.write_text(f"{text}workers = 3\n")
        with capturedLogs() as logged:
            service._told_to_reload()
            service._told_to_reload()
            await through(service)
            file.write_text(f"{text}wrokers = 3\n[limits]\nhead = 1\n")
            service._told_to_reload()
            await through(service)
        said = [formatEvent(event) for event in logged]
        assert said[0] == "Reloaded: 1 route, 1 of them with the module they had"
        assert said[1].startswith("server.workers cannot change while the proxy runs")
        assert said[:2] == said[2:4], "told twice, it reads twice"
        assert said[4].startswith(f"Not reloaded, nothing has changed: {file}: server.wrokers: unknown key")
        assert f"\n{file}: limits.head" in said[4]


class StartsSlowly(Noted):
    ready = Deferred()

    def start(self):
        return self.ready


@waits
async def test_sighup_while_modules_start_is_heard_when_they_have(tmp_path, reactor):
    file = tmp_path / "proxy.toml"
    text = f'[server]\nlisten = "tcp:0:interface=127.0.0.1"\n[[route]]\nmodule = "{HERE}:%s"\n'
    file.write_text(text % "StartsSlowly")
    service = ProxyService(Proxy(file, reactor))
    service.startService()
    file.write_text(text % "Noted")
    with capturedLogs() as logged:
        service._told_to_reload()
        StartsSlowly.ready.callback(None)
        while service.proxy.starting:
            await deferLater(reactor, 0.005)
        await through(service)
        await service.stopService()
    assert [words for event in logged if "eload" in (words := formatEvent(event))] == [
        "Reloaded: 1 route, 0 of them with the module they had"
    ]
    assert isinstance(module(service.proxy), Noted)


# Modules that go.


class Streams(Module):
    """Answers without an end, in pieces that a generator makes."""

    notes: list[str] = []

    def handle(self, request):
        return Response(body=self.pieces())

    def pieces(self):
        try:
            while True:
                yield "piece"
        finally:
            self.notes.append("closed")

    def stop(self):
        self.notes.append("stop")


def test_a_module_that_goes_is_stopped_when_its_last_clean_up_is_over():
    house = House(Streams())
    Deferred.fromCoroutine(house.hooks.start(house.bindings))
    client = house.connect()
    client.send(GET)
    for _ in range(3):  # the generator has begun
        house.poll()
        house.workers.step()
    client.slow()
    house.settle()
    client.leave()
    house.poll()
    assert not house.flow.exchanges
    retiring = Retiring(house.clock, house.flow, house.hooks)
    retiring.retire(house.bindings, [])
    assert house.workers.waiting == 1, "the generator is to be closed, and nothing else beside it"
    house.advance(LOOK * 2)
    assert module(house).notes == ["closed", "stop"]
    assert retiring.statistics() == {"retiring": 0}
    house.assert_nothing_left()


def test_a_module_that_goes_is_stopped_when_its_last_request_is_over():
    house = House(Holds())
    first, second = house.get(), house.get()
    retiring = Retiring(house.clock, house.flow, house.hooks)
    Deferred.fromCoroutine(house.hooks.start(house.bindings))
    retiring.retire(house.bindings, [])
    first.leave()
    house.advance(LOOK * 3)
    assert retiring.statistics() == {"retiring": 1}
    assert "Route / to" in repr(retiring)
    assert house.bindings[0].module.notes == ["start"]
    second.leave()
    house.advance(LOOK)
    assert house.bindings[0].module.notes == ["start", "stop"]
    assert retiring.statistics() == {"retiring": 0}
    house.assert_nothing_left()


# Upstreams.

A, B = {"servers": ["http://127.0.0.1:9001"]}, {"servers": ["http://127.0.0.1:9002"]}
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def groups(**tables):
    return load(config(route(Noted), upstream=tables)).upstream


def take_over(house, **tables):
    """Another generation of upstreams takes over in `house`."""
    former = house.bindings[0].upstreams or house.upstreams
    upstreams = former.following(groups(**tables))
    upstreams.succeed(former)
    house.bindings[0].upstreams = upstreams
    return upstreams


def forwarding(*answered):
    house = House("reverse", groups={"a": A}, route={"upstream": "a"})
    for path in answered:
        client = house.get(path)
        house.upstream().answer(REPLY)
        house.settle()
        assert client.status == 200
    return house


def test_a_group_that_is_the_same_keeps_its_connections():
    house = forwarding("/1")
    upstreams = take_over(house, a=A, b=B)
    client = house.get("/2")
    assert len(house.network.asked) == 1
    house.upstream().answer(REPLY)
    house.settle()
    assert client.status == 200
    assert upstreams.pools()[0].statistics()["idle"] == 1


def test_a_group_that_is_gone_closes_what_idles():
    house = forwarding("/1")
    upstreams = take_over(house, b=B)
    house.settle()
    assert house.upstream().closed
    assert set(upstreams.statistics()) == {"http://127.0.0.1:9002"}


def test_a_group_that_changes_lets_what_runs_finish_and_then_closes():
    house = forwarding()
    client = house.get("/1")
    upstreams = take_over(house, a={**A, "max_idle": 3})
    assert len(upstreams.pools()) == 2
    assert not house.upstream().closed
    house.upstream().answer(REPLY)
    house.settle()
    assert client.status == 200
    assert house.upstream(0).closed
    house.settle()
    assert len(upstreams.pools()) == 1
    house.get("/2")
    assert len(house.network.asked) == 2


def test_what_runs_finds_the_groups_it_began_with():
    class Twice(Module):
        blocking = False

        async def handle(self, request):
            await request.forward("a")
            return await request.forward("a")

    house = House(Twice(), groups={"a": A})
    client = house.get()
    former, upstreams = house.upstreams, house.upstreams.following(groups(b=B))
    upstreams.succeed(former)
    house.upstream().answer(REPLY)
    house.settle()
    house.upstream().answer(REPLY)
    house.settle()
    assert client.status == 200
    house.assert_nothing_left()


def test_groups_of_urls_are_kept():
    house = House("reverse", route={"upstream": None})
    former = house.upstreams
    group = former._from_url("http://127.0.0.1:9003")
    after = former.following({})
    after.succeed(former)
    assert after.known["http://127.0.0.1:9003"] is group
    assert [str(pool) for pool in after.pools()] == ["http://127.0.0.1:9003"]


@waits
async def test_what_heads_say_of_us_changes():
    async with running(config(route(Noted), server={"server_name": "one"})) as proxy:
        caller = Caller(proxy)
        assert b"\r\nServer: one\r\n" in caller.get().wire.out
        await proxy.reload(config(route(Noted), server={"server_name": "two", "via": "off"}))
        assert b"\r\nServer: two\r\n" in caller.get().wire.out
        assert proxy.flow.signature.replies == (b"", b"")
        caller.leave()
