"""The house below a lab: exact deadlines, names that all exist, and failures that are remembered."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from asyncproxy.boundaries import Surroundings
from asyncproxy.configuration import Origin
from asyncproxy.polling.deadlines import Deadlines, Due
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.testing.clock import Clock
from asyncproxy.testing.house import House, one_server
from asyncproxy.testing.network import Names
from asyncproxy.testing.upstream import FetchSent


class ExactDeadlines(Deadlines):
    """A wheel without slots: what is due in 30 s is due after `advance(30)`, and in the same order in each run."""

    def place(self, one: Due) -> None:
        """Put `one` at its very time."""
        slot = one._slot = one.due
        row = self._slots.get(slot)
        if row is None:
            self._slots[slot] = row = _Row()
            if slot < self._at:
                self._arm(slot)
        row.add(one)


class _Row(set[Due]):
    """A set that is gone through in the order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self._in_order: dict[Any, None] = {}

    def add(self, one: Due) -> None:
        self._in_order[one] = None

    def discard(self, one: object) -> None:
        self._in_order.pop(one, None)

    def __iter__(self) -> Any:
        return iter(list(self._in_order))

    def __len__(self) -> int:
        return len(self._in_order)


class OpenUpstreams(Upstreams):
    """Upstreams of a lab without a configuration: every name is a group of one server of that name."""

    def acquire(self, forwarding: Forwarding, upstream: str | None) -> None:
        """As `Upstreams.acquire`."""
        if upstream is not None and upstream not in self.known and ":" not in upstream:
            self.add(upstream)
        super().acquire(forwarding, upstream)

    def add(self, name: str) -> None:
        """Make the group `name`."""
        settings = one_server(Origin("http", name, 80))
        self._groups[name] = self.known[name] = self._make(name, settings)


class LabHouse(House):
    """The house below a lab. `open_names` says whether upstreams need no configuration."""

    def __init__(self, *args: Any, open_names: bool = False, **more: Any) -> None:
        self.open_names = open_names
        self.sent: deque[FetchSent] = deque()
        """Fetches that nobody has looked at yet."""
        super().__init__(*args, **more)
        self.network.heard = deque()

    def make_names(self) -> Names:
        """Every name has an address."""
        return Names(by_itself=True)

    def make_deadlines(self, clock: Clock) -> Deadlines:
        """To the instant."""
        return ExactDeadlines(clock)

    def make_upstreams(self, groups: dict[str, Any], means: Means) -> Upstreams:
        """Any name, where no configuration says which there are."""
        kind = OpenUpstreams if self.open_names else Upstreams
        return kind(groups, one_server, means)

    def fetch(self, fetch: Any) -> Deferred[Any]:
        """To be answered as a forward is."""
        sent = FetchSent(self.polling, self.clock, fetch)
        self.sent.append(sent)
        return sent.deferred

    def make_flow(self, around: Surroundings) -> Flow:
        """One that remembers failures."""
        flow = _RememberingFlow(self.workers, self.lot, self.deadlines, around, **self.flow_limits())
        flow.prefix = "lab"  # the same ids in each run
        flow.failures = self.failures
        return flow


class _RememberingFlow(Flow):
    """Remembers what it logs."""

    failures: dict[int, BaseException]

    def log_failure(self, exchange: Exchange, error: BaseException) -> None:
        self.failures[exchange.request.client[1]] = error
        super().log_failure(exchange, error)
