"""The house of `asyncproxy.testing` as our own tests furnish it: a line for each, and what they look at below the API.

house = House(Hello())
client = house.connect()
client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
house.settle()
assert client.status == 200
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncproxy import testing
from asyncproxy.configuration import load
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.waiting import KINDS
from asyncproxy.service import Bound, bind
from asyncproxy.testing import Clock, FakeClient, FakeUpstream

__all__ = ["GET", "SERVER", "FakeClient", "House"]

SERVER = "http://127.0.0.1:9000"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class House(testing.House):
    """All rooms put together around fakes.

    `module` serves every path: a `Module`, or the name of a stock one. `route` has the route's other keys, `server`,
    `limits` and `groups` those of their tables. `modules` are further modules by path. Parks and deadlines have a clock
    each, so that a timer that a park leaves behind is seen.
    """

    def __init__(
        self,
        module: Any = "reverse",
        *,
        route: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        groups: Mapping[str, Any] | None = None,
        modules: Mapping[str, Any] | None = None,
        kinds: Any = KINDS,
    ) -> None:
        by_path = {"/": module, **(modules or {})}
        rows = [
            {"path": path, "module": row if isinstance(row, str) else "reverse", "upstream": SERVER, **(route or {})}
            for path, row in by_path.items()
        ]
        settings = load(
            {
                "server": {"listen": "tcp:0", **(server or {})},
                "limits": limits or {},
                "upstream": groups or {},
                "route": rows,
            }
        )
        bindings = [
            bind(one) if isinstance(module, str) else Bound(one, module)
            for one, module in zip(settings.route, by_path.values(), strict=True)
        ]
        super().__init__(settings, bindings, kinds=kinds, clock=Clock(), wheel=Clock())
        for binding in bindings:
            binding.module.proxy = self

    def get(self, path: str = "/") -> FakeClient:
        """A new client that has sent a GET; settled."""
        return self.connect().get(path)

    def upstream(self, number: int = -1) -> FakeUpstream:
        """A connection to a server, in the order they were asked for; the latest by default."""
        return self.network.asked[number]

    def exchange(self) -> Exchange:
        """The one exchange there is."""
        (exchange,) = self.flow.exchanges
        return exchange

    def stages(self) -> dict[str, int]:
        """The stages that have any exchange."""
        return {stage: count for stage, count in self.flow.stages().items() if count}

    def pool(self, number: int = 0) -> dict[str, int]:
        """Statistics of a server's pool."""
        return self.upstreams.pools()[number].statistics()

    def assert_nothing_left(self) -> None:
        """Everything that requests took was given back; closes what is merely kept alive."""
        assert not self.flow.exchanges, self.flow.exchanges
        assert not self.flow.clean_ups, self.flow.clean_ups
        assert not self.lot.parked, self.lot.parked
        assert not self.clock.getDelayedCalls(), self.clock.getDelayedCalls()
        assert not self.descriptors.readers
        assert not self.descriptors.writers
        assert self.workers.statistics() == {"total": self.workers.total, "busy": 0, "queued": 0}
        for client in self.clients:
            client.wire.hang_up()
        self.upstreams.close()
        self.settle()
        for statistics in self.upstreams.statistics().values():
            assert set(statistics.values()) == {0}, statistics
        self.advance(200)
        assert not self.door.connections
        assert self.deadlines.statistics()["standing"] == 0
