import concurrent.futures
import threading
from contextlib import suppress

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from asyncproxy import ClientGone, Module, Response, gather, on_reactor, sleep
from asyncproxy.service import NotStarted, Proxy, ports
from asyncproxy.testing import Lab
from tests.fakes import House

HERE = "tests.service.test_hooks"


class Hooked(Module):
    """Notes what is called."""

    name: str = "one"
    notes: list[str] = []

    def handle(self, request):
        return Response.text(" ".join(self.notes))

    def start(self):
        self.notes.append(f"start {self.name}")

    def stop(self):
        self.notes.append(f"stop {self.name}")


class Waits(Hooked):
    async def start(self):
        await sleep(3)
        self.notes.append(await on_reactor(lambda: "start async"))

    async def stop(self):
        await sleep(3)
        self.notes.append("stop async")


class Bare(Hooked):
    """On the polling thread a Deferred is awaited bare, or returned."""

    blocking = False

    def start(self):
        self.fired = Deferred()
        self.proxy.reactor.callLater(1, self.fired.callback, None)
        self.fired.addCallback(lambda _: self.notes.append("start fired"))
        return self.fired

    async def stop(self):
        fired = Deferred()
        self.proxy.reactor.callLater(1, fired.callback, "stop fired")
        self.notes.append(await fired)


class Broken(Hooked):
    def start(self):
        raise KeyError("no database")


class BreaksAtTheEnd(Hooked):
    async def stop(self):
        raise OSError("the disk is full")


class Endless(Hooked):
    start_timeout = 5.0
    stop_timeout = 2.0

    async def start(self):
        try:
            await sleep(600)
        finally:
            self.notes.append("cleaned up")

    stop = start


class Plain(Module):
    def handle(self, request):
        return Response.text("plain")


def lab_of(*modules):
    return Lab({"route": [{"path": f"/{number}", "module": one} for number, one in enumerate(modules)]})


def test_a_module_starts_with_its_lab_and_stops_with_it(lab):
    one = lab(Hooked)
    assert one.get("/").body == b"start one"
    one.stop()
    assert one.module.notes == ["start one", "stop one"]


def test_an_async_hook_may_await_what_a_request_may(lab):
    one = lab(Waits)
    assert one.module.notes == ["start async"]
    assert one.stop() == []
    assert one.module.notes == ["start async", "stop async"]


def test_a_module_on_the_polling_thread_may_return_or_await_a_deferred(lab):
    one = lab(Bare)
    one.stop()
    assert one.module.notes == ["start fired", "stop fired"]


def test_a_worker_may_not_give_a_deferred_to_await():
    class Mistaken(Hooked):
        def start(self):
            return Deferred()

    with pytest.raises(NotStarted, match="start\\(\\) failed: TypeError: a Deferred was made on a worker thread"):
        Lab(Mistaken)


def test_a_future_that_start_returns_is_awaited():
    future = concurrent.futures.Future()
    future.set_result(None)

    class Pooled(Hooked):
        def start(self):
            return future

    with Lab(Pooled) as lab:
        assert lab.get("/").status == 200


def test_a_start_that_raises_names_route_module_and_line_and_stops_what_was_started():
    first, last = Hooked(), Hooked()
    with pytest.raises(NotStarted) as caught:
        lab_of(first, Broken, last)
    words = str(caught.value)
    assert words.startswith(
        f'route "/1", module "{HERE}:Broken": start() failed: KeyError: \'no database\' at {__file__}:'
    )
    assert words.endswith("in Broken.start")
    assert first.notes == ["start one", "stop one"]
    assert last.notes == []


def test_a_start_that_takes_too_long_keeps_the_lab_from_being_made():
    with pytest.raises(NotStarted, match=r"ParkTimeout: it was not through within 5 s, at test_hooks.py:\d+"):
        Lab(Endless)


def test_a_start_that_takes_too_long_hears_of_it_at_its_await():
    house = House(Endless())
    (bound,) = house.bindings
    ended = Deferred.fromCoroutine(house.hooks.start(house.bindings))
    house.settle()
    house.advance(4.9)
    assert bound.module.notes == []
    house.advance(0.1)
    assert bound.module.notes == ["cleaned up"]
    failures = []
    ended.addErrback(failures.append)
    assert failures[0].check(NotStarted)
    house.assert_nothing_left()


def test_a_start_whose_worker_never_comes_back_is_told_in_time():
    class Stuck(Hooked):
        start_timeout = 5.0

    house = House(Stuck())
    failures = []
    Deferred.fromCoroutine(house.hooks.start(house.bindings)).addErrback(failures.append)
    turn = house.workers.queue.popleft()
    turn.began = 1.0  # a worker has it, and does not come back
    house.polling.step()
    house.advance(5)
    assert failures[0].check(NotStarted)
    turn.run()
    turn.ran()  # and then does
    house.settle()


def test_a_stop_that_raises_is_logged_and_the_others_stop():
    modules = BreaksAtTheEnd(), Hooked()
    lab = lab_of(*modules)
    with capturedLogs() as logged:
        (left,) = lab.stop()
    assert "stop() failed: OSError: the disk is full at " in left
    assert any("the disk is full" in formatEvent(event) for event in logged)
    assert modules[1].notes == ["start one", "stop one"]


def test_a_stop_that_takes_too_long_is_given_up(lab):
    class Slow(Endless):
        start = Hooked.start

    one = Lab(Slow)
    before = one.clock.seconds()
    (left,) = one.stop()
    assert "was not through within 2 s" in left
    assert one.clock.seconds() - before == pytest.approx(2)


def test_a_module_of_several_routes_starts_and_stops_once():
    shared = Hooked()
    lab = lab_of(shared, shared)
    lab.stop()
    assert shared.notes == ["start one", "stop one"]


def test_a_module_without_hooks_takes_no_turn():
    house = House(Plain())
    Deferred.fromCoroutine(house.hooks.start(house.bindings))
    assert house.workers.waiting == 0
    assert house.hooks.statistics() == {"started": 1}
    assert repr(house.hooks) == "<Hooks of 1 started modules>"


def test_start_may_not_want_arguments():
    class Wants(Hooked):
        async def start(self, reactor):
            pass

    with pytest.raises(NotStarted, match="missing 1 required positional argument"):
        Lab(Wants)


def test_a_proxy_that_stops_while_a_module_starts_calls_it_off():
    house = House(Endless())
    (bound,) = house.bindings
    failures = []
    Deferred.fromCoroutine(house.hooks.start(house.bindings)).addErrback(failures.append)
    house.settle()
    Deferred.fromCoroutine(house.hooks.stop())
    house.settle()
    assert "the proxy stops" in failures[0].getErrorMessage()
    assert bound.module.notes == ["cleaned up"]
    house.assert_nothing_left()


def test_a_start_that_ends_well_though_it_was_told_is_stopped():
    class Stubborn(Hooked):
        async def start(self):
            try:
                await sleep(600)
            except ClientGone:
                self.notes.append("told")

    house = House(Stubborn(), modules={"/never": Hooked()})
    first, second = house.bindings
    failures, over = [], []
    Deferred.fromCoroutine(house.hooks.start(house.bindings)).addErrback(failures.append)
    house.settle()
    Deferred.fromCoroutine(house.hooks.stop()).addCallback(over.append)
    house.settle()
    assert first.module.notes == ["told", "stop one"]
    assert second.module.notes == []
    assert failures[0].check(NotStarted)
    assert over == [[]]
    house.assert_nothing_left()


class Stubborn(Hooked):
    """Ends its start well, though it was told that the proxy stops."""

    async def start(self):
        self.waits = True
        try:
            await sleep(600)
        except ClientGone:
            self.notes.append("told")


def settings(*modules):
    routes = [{"path": f"/{number}", "module": f"{HERE}:{one.__name__}"} for number, one in enumerate(modules)]
    return {"server": {"listen": "tcp:0:interface=127.0.0.1", "workers": 1}, "route": routes}


class Threaded(Module):
    def handle(self, request):
        return Response()

    def start(self):
        self.started_on = threading.current_thread().name

    async def stop(self):
        self.stopped_on = threading.current_thread().name


@pytest_twisted.ensureDeferred
async def test_hooks_of_a_blocking_module_run_on_a_worker(reactor):
    proxy = Proxy(settings(Threaded), reactor)
    await proxy.start()
    await proxy.stop()
    module = proxy.bindings[0].module
    assert (module.started_on, module.stopped_on) == ("asyncproxy-worker-0", "asyncproxy-worker-0")


@pytest_twisted.ensureDeferred
async def test_a_proxy_whose_module_does_not_start_leaves_nothing_behind(reactor):
    before = threading.active_count()
    proxy = Proxy(settings(Hooked, Broken), reactor)
    with pytest.raises(NotStarted, match="no database"):
        await proxy.start()
    assert proxy.bindings[0].module.notes == ["start one", "stop one"]
    assert proxy.addresses == []
    assert threading.active_count() == before


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_was_never_started_can_be_stopped(reactor):
    await Proxy(settings(Plain), reactor).stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_stopped_while_its_last_module_starts_does_not_listen_afterwards(reactor):
    proxy = Proxy(settings(Stubborn), reactor)
    module = proxy.bindings[0].module
    started = proxy.start()
    while not hasattr(module, "waits"):
        await deferLater(reactor, 0.005)
    await proxy.stop()
    with pytest.raises(NotStarted, match="told to stop before it listened"):
        await started
    assert proxy.addresses == []
    assert module.notes == ["told", "stop one"]


@pytest_twisted.ensureDeferred
async def test_a_port_that_opens_only_after_the_stop_is_closed_again(reactor, monkeypatch):
    opened, closed = Deferred(), []

    class Endpoint:
        def listen(self, door):
            return opened

    class Port:
        def stopListening(self):
            closed.append(self)

    monkeypatch.setattr(ports, "serverFromString", lambda *_: Endpoint())
    proxy = Proxy(settings(Plain), reactor)
    started = proxy.start()
    await proxy.stop()
    opened.callback(Port())
    with pytest.raises(NotStarted, match="told to stop"):
        await started
    assert len(closed) == 1
    assert proxy.addresses == []


def test_a_coroutine_that_a_hook_leaves_behind_is_closed_on_a_worker():
    class Gathers(Hooked):
        async def start(self):
            await gather(self.raises(), self.waits())

        async def raises(self):
            raise KeyError("no database")

        async def waits(self):
            try:
                await sleep(600)
            finally:
                self.notes.append(f"closed while {house.workers.statistics()['busy']} work")

    house = House(Gathers())
    failures = []
    Deferred.fromCoroutine(house.hooks.start(house.bindings)).addErrback(failures.append)
    house.settle()
    assert "no database" in failures[0].getErrorMessage()
    assert house.bindings[0].module.notes == ["closed while 1 work"]
    house.assert_nothing_left()


def test_modules_that_stop_can_be_hurried_and_are_never_given_more_time_by_it():
    class Slow(Endless):
        start = Hooked.start
        stop_timeout = 20.0

    house = House(Slow())
    over = []
    Deferred.fromCoroutine(house.hooks.start(house.bindings))
    house.settle()
    Deferred.fromCoroutine(house.hooks.stop()).addCallback(over.append)
    house.advance(1)
    house.hooks.hurry(2)
    house.advance(1)
    house.hooks.hurry(10)
    house.advance(0.9)
    assert over == []
    house.advance(0.2)
    assert "was not through within 2 s" in over[0][0]
    assert house.bindings[0].module.notes == ["start one", "cleaned up"]
    house.assert_nothing_left()


def test_a_module_whose_start_is_still_called_off_can_be_hurried():
    class Deaf(Endless):
        stop_timeout = 20.0

        async def start(self):
            for _ in range(3):
                with suppress(ClientGone):
                    await sleep(600)

    house = House(Deaf())
    failures, over = [], []
    Deferred.fromCoroutine(house.hooks.start(house.bindings)).addErrback(failures.append)
    house.settle()
    Deferred.fromCoroutine(house.hooks.stop()).addCallback(over.append)
    house.advance(1)
    house.hooks.hurry(1)
    house.advance(1)
    assert over == [[]]
    assert failures[0].check(NotStarted)


class Stuck(Hooked):
    async def stop(self):
        await sleep(600)


@pytest_twisted.ensureDeferred
async def test_a_second_stop_with_less_patience_is_heard_while_modules_stop(reactor):
    proxy = Proxy(settings(Stuck), reactor)
    await proxy.start()
    stopped = proxy.drain(0)
    while not proxy.hooks._stopping:
        await deferLater(reactor, 0.005)
    with capturedLogs() as logged:
        await proxy.stop(patience=0.01)
    await stopped
    assert any("stop() failed: ParkTimeout: it was not through within 0.01 s" in formatEvent(event) for event in logged)
