"""The servers of a lab: all that they were asked, what they are to answer, and one of them by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncproxy.exchange.headers import HeaderSource
from asyncproxy.exchange.responses import Response
from asyncproxy.testing.conversation import Conversation
from asyncproxy.testing.lab_house import LabHouse
from asyncproxy.testing.network import FakeUpstream
from asyncproxy.testing.upstream import Body, UpstreamRequest, failure

Reaction = Callable[[UpstreamRequest], None]


class Servers:
    """What was asked of servers, forwards and fetches together, in the order it came.

    `nameless` is the group of a lab without a configuration: it goes by any name that nobody else has.
    """

    def __init__(
        self, house: LabHouse, nameless: str | None, look: Callable[[], None], then: Callable[[], None]
    ) -> None:
        """`look` is called before anything is looked at, `then` after a server has done something."""
        self.house = house
        self.nameless = nameless
        self.requests: list[UpstreamRequest] = []
        self.kept: list[tuple[str | None, Reaction]] = []
        """Answers that were given before anybody asked; each is for one request."""
        self.served: list[tuple[str | None, Reaction]] = []
        """Answers to every request of an upstream."""
        self.look = look
        self.then = then
        self._waiting: dict[UpstreamRequest, None] = {}
        self._conversations: dict[FakeUpstream, Conversation] = {}

    def read(self) -> bool:
        """Take in what the proxy has written; whether any of it was answered by what is kept or served."""
        house = self.house
        heard, sent = house.network.heard, house.sent
        assert heard is not None
        if not heard and not sent:
            return False
        asked: list[UpstreamRequest] = []
        while heard:
            forwarded = self._conversation(heard.popleft()).read()
            if forwarded is not None:
                asked.append(forwarded)
        while sent:
            asked.append(sent.popleft())
        for request in asked:
            request.then = self.then
            self.requests.append(request)
            self._waiting[request] = None
        return self.react()

    def _conversation(self, connection: FakeUpstream) -> Conversation:
        conversation = self._conversations.get(connection)
        if conversation is None:
            groups = self.house.upstreams.known
            conversation = self._conversations[connection] = Conversation(connection, groups)
        return conversation

    def react(self) -> bool:
        """Answer what waits by what is kept or served; whether there was any."""
        if not self.kept and not self.served:
            return False
        some = False
        for request in list(self._waiting):
            if not request.waiting:
                continue
            reaction = self._reaction(request)
            if reaction is not None:
                del self._waiting[request]
                reaction(request)
                some = True
        return some

    def _reaction(self, request: UpstreamRequest) -> Reaction | None:
        for index, (name, reaction) in enumerate(self.kept):
            if self.is_for(request, name):
                del self.kept[index]
                return reaction
        if request.whole:
            for name, reaction in self.served:
                if self.is_for(request, name):
                    return reaction
        return None

    def is_for(self, request: UpstreamRequest, name: str | None) -> bool:
        """Whether `request` went to the upstream, or below the URL, that `name` is; None is any."""
        if name is None or request.matches(name):
            return True
        if self.nameless is None or name == self.nameless or ":" in name:
            return False
        others = any(one.matches(name) for one in self.requests)
        return not others and request.matches(self.nameless)

    def waiting(self, name: str | None) -> list[UpstreamRequest]:
        """What `name` was asked and has not answered, the eldest first."""
        return [request for request in self._all_waiting() if self.is_for(request, name)]

    def _all_waiting(self) -> list[UpstreamRequest]:
        for request in list(self._waiting):
            if not request.waiting:
                del self._waiting[request]
        return list(self._waiting)

    def next(self, name: str | None) -> UpstreamRequest | None:
        """The eldest request that `name` is to answer; it is taken off the line.

        The lab settles only if there is none yet: under a seed an answer may overlap with whatever else is on its way.
        """
        self.read()
        found = self._next(name)
        if found is None:
            self.look()
            found = self._next(name)
        return found

    def _next(self, name: str | None) -> UpstreamRequest | None:
        while self._waiting:
            for request in self._waiting:
                if not request.waiting or self.is_for(request, name):
                    break
            else:
                return None
            del self._waiting[request]
            if request.waiting:
                return request
        return None


class Upstream:
    """An upstream of a lab, by the name it has in the configuration; or a URL, and what is below it.

    What is asked of it waits until the test answers: `answer`, `begin` and `fail` are for the eldest request that
    waits. When none does, they are kept for the next one.
    """

    def __init__(self, servers: Servers, name: str | None) -> None:
        self.name = name
        self._servers = servers

    @property
    def requests(self) -> list[UpstreamRequest]:
        """All that it was asked, in order, answered or not."""
        servers = self._servers
        servers.look()
        return [request for request in servers.requests if servers.is_for(request, self.name)]

    @property
    def waiting(self) -> list[UpstreamRequest]:
        """What it was asked and has not answered, the eldest first."""
        self._servers.look()
        return self._servers.waiting(self.name)

    def answer(self, status: int = 200, headers: HeaderSource = (), body: Body = b"", *, json: Any = None) -> None:
        """Answer the eldest request, or else the next one, with a whole response."""
        self._do(lambda request: request.answer(status, headers, body, json=json))

    def fail(self, why: str | BaseException | type[BaseException] = "reset") -> None:
        """Let the eldest request, or else the next one, fail: a key of `upstream.FAILURES`, or an exception.

        Raises ValueError for another word, and nothing has failed.
        """
        failure(why, "")
        self._do(lambda request: request.fail(why))

    def begin(self, status: int = 200, headers: HeaderSource = (), *, length: int | None = None) -> UpstreamRequest:
        """Begin to answer the eldest request; the body follows by the returned request's `send` and `end`.

        Raises AssertionError when none waits.
        """
        request = self._servers.next(self.name)
        assert request is not None, f"nothing waits for {self!r}"
        request.begin(status, headers, length=length)
        return request

    def switch(self, headers: HeaderSource = (), data: bytes = b"") -> UpstreamRequest:
        """Answer the eldest request, which offers another protocol, with 101; see `UpstreamRequest.switch`.

        Raises AssertionError when none waits.
        """
        request = self._servers.next(self.name)
        assert request is not None, f"nothing waits for {self!r}"
        request.switch(headers, data)
        return request

    def serve(self, respond: Callable[[UpstreamRequest], Response]) -> None:
        """Answer every request, once it is whole, with what `respond(request)` returns: a `Response` of bytes."""
        self._servers.served.append((self.name, lambda request: _respond(request, respond(request))))
        self._servers.react()
        self._servers.then()

    def refuse(self) -> None:
        """Refuse new connections from now on, so that another server of the group is tried."""
        self._servers.house.network.refused.update(self._addresses())

    def accept(self) -> None:
        """Accept connections again."""
        self._servers.house.network.refused.difference_update(self._addresses())

    def _addresses(self) -> list[Any]:
        pools = self._servers.house.upstreams.pools()
        group = self._servers.house.upstreams.known.get(self.name)
        origins = [pool.origin for pool in (group.pools if group is not None else pools)]
        if group is None:
            origins = [origin for origin in origins if str(origin) == self.name]
        known = ", ".join(sorted({str(pool.origin) for pool in pools}))
        assert origins, f"{self!r} has no server of the configuration; known are {known}"
        return [origin.path or (origin.host, origin.port) for origin in origins]

    def _do(self, reaction: Reaction) -> None:
        servers = self._servers
        request = servers.next(self.name)
        if request is None:
            servers.kept.append((self.name, reaction))
        else:
            reaction(request)

    def __repr__(self) -> str:
        requests = [one for one in self._servers.requests if self._servers.is_for(one, self.name)]
        waiting = sum(request.waiting for request in requests)
        return f"<Upstream {self.name or 'of any name'}: {len(requests)} requests, {waiting} waiting>"


def _respond(request: UpstreamRequest, response: Response) -> None:
    body = response.body
    assert isinstance(body, (bytes, str)), f"serve() was given a response of {type(body).__name__}; give bytes or str"
    request.answer(response.status, response.headers, body)
