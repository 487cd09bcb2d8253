"""What must hold of a scene that was played, whatever its order was; see `bench.races`.

Each park wakes exactly once, no exchange is lost or answered twice, and a value goes to one request at most: to the one
that the receipt names, unless that request was cut between the resume and its code's next turn.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise

from asyncproxy import RAISE, ClientGone, Draining, ParkTimeout, Receipt, TicketRefused, TicketTaken
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.testing.clock import NEARLY
from bench.races import Asked, Resumed, Scene, Visit, Wait

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


def faults(scene: Scene) -> list[str]:
    """All that is wrong, a line each."""
    verdict = Verdict(scene)
    found = [*verdict.left_behind(), *verdict.of_receipts()]
    for visit in scene.visits:
        found += verdict.of_visit(visit)
    for resumed in scene.resumes:
        found += verdict.of_value(resumed)
    return found


class Verdict:
    """Reads what everybody in a scene saw."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.waits = [(visit, wait) for visit in scene.visits for wait in visit.waits]
        self.uses: dict[int, list[tuple[Visit, Wait]]] = {}
        """By the number of a resume: who was given its value."""
        for visit, wait in self.waits:
            for value in wait.values or ():
                if isinstance(value, list):
                    self.uses.setdefault(value[1], []).append((visit, wait))

    def left_behind(self) -> Iterator[str]:
        """Whatever is still held."""
        scene, house = self.scene, self.scene.lab.house
        counts = house.tickets.statistics()
        held = {
            "exchanges": house.flow.exchanges,
            "clean-ups": house.flow.clean_ups,
            "parks": house.lot.parked,
            "names": counts["parked"],
            "turns": house.workers.waiting + len(house.workers.running),
            "resumes without an answer": sum(not one.future.done() for one in scene.resumes),
            "a drain": scene.drained is not None and not scene.drained.called,
        }
        yield from (f"left behind: {name} {what}" for name, what in held.items() if what)
        records = [record.target for record in house.records]
        if len(records) != len(set(records)) or len(records) != house.flow.served:
            yield f"{house.flow.served} exchanges ended, and the records are {records}"

    # A request, as its client and its code saw it.

    def of_visit(self, visit: Visit) -> Iterator[str]:
        """Its code ran once, each of its awaits ended once, and its client was told what came of it, once."""
        if visit.begun > 1 or visit.ended != visit.begun:
            yield f"{visit.path} began {visit.begun} times and ended {visit.ended}"
        if any(wait.outcomes != 1 for wait in visit.waits):
            yield f"{visit.path} awaited, and heard {[wait.outcomes for wait in visit.waits]} times of it"
        for wait in visit.waits:
            yield from self.of_wait(visit, wait)
        yield from self.of_answer(visit)

    def of_answer(self, visit: Visit) -> Iterator[str]:
        """What the client received."""
        received = visit.request.client.received if visit.request is not None else b""
        statuses = [int(status) for status in _STATUS_LINE.findall(received)]
        expected = self.expected(visit)
        spared = visit.path in self.scene.left or (self.scene.stopped and not self.scene.drained)
        if statuses != expected and not (spared and not statuses):
            yield f"{visit.path} was answered {statuses}, not {expected}"
        body = received.partition(b"\r\n\r\n")[2]
        if statuses == [200] and json.loads(body) != visit.answer:
            yield f"{visit.path} was answered {body!r}, and its code said {visit.answer}"

    def expected(self, visit: Visit) -> list[int]:
        """The statuses that it should have been answered with."""
        if visit.answer is not None:
            return [200]
        if visit.error is not None:
            return [visit.error.status if isinstance(visit.error, ProxyError) else 500]
        if visit.request is None or visit.begun:
            return []
        record = next((one for one in self.scene.lab.house.records if one.target == visit.path.encode()), None)
        if record is None:  # its head was never read
            return []
        return [504] if self.late(visit) and record.status == 504 else [503] if self.scene.drained else [504]

    def of_wait(self, visit: Visit, wait: Wait) -> Iterator[str]:
        """What its code heard must have had a cause."""
        who = f"{visit.path} on {wait.names}"
        if wait.error is not None and not self.is_justified(visit, wait, wait.error):
            yield f"{who} heard {wait.error!r} without a cause"
        for asked, value in zip(wait.asked, wait.values or (), strict=bool(wait.values)):
            if isinstance(value, list):
                if value[0] != asked.name:
                    yield f"{who} was given {value}"
            elif not (value == asked.default != RAISE and self.is_over(wait, asked.timeout)):
                yield f"{who} was given {value!r} after {wait.ended_at - wait.at:g} s"

    def is_justified(self, visit: Visit, wait: Wait, error: BaseException) -> bool:
        """Whether something in the scene brings `error` about."""
        if isinstance(error, Draining):
            return self.scene.drained is not None
        if isinstance(error, ClientGone):
            return visit.path in self.scene.left or self.scene.stopped
        if isinstance(error, ParkTimeout):
            own = any(self.is_over(wait, one.timeout) and one.default is RAISE for one in wait.asked)
            return own or self.is_over(wait, wait.limit) or self.late(visit)
        return isinstance(error, TicketTaken) and any(
            other is not wait and other.step <= wait.ended_step and wait.step <= other.ended_step
            for _, other in self.waits
            if error.name in other.names and error.name in wait.names
        )

    def late(self, visit: Visit) -> bool:
        """Whether its route's time-out came."""
        timeout = self.scene.timeout
        return timeout is not None and self.scene.lab.clock.seconds() - visit.since >= timeout - NEARLY

    def is_over(self, wait: Wait, timeout: float | None) -> bool:
        """Whether so much time passed while it waited."""
        return timeout is not None and wait.ended_at - wait.at >= timeout - NEARLY

    # A resume, as whoever resumed saw it.

    def of_receipts(self) -> Iterator[str]:
        """At most one for each generation of a name; each after the one before."""
        for name in self.scene.names:
            settled = [receipt for one in self.scene.resumes if one.name == name if (receipt := settlement(one))]
            generations = [receipt.generation for receipt in settled]
            if any(former >= latter for former, latter in pairwise(generations)):
                yield f"{name!r} was settled in the generations {generations}"

    def of_value(self, resumed: Resumed) -> Iterator[str]:
        """Who was given it."""
        uses = self.uses.get(resumed.number, [])
        if len(uses) > 1:
            yield f"{resumed.value} was given {len(uses)} times"
        for visit, wait in uses:
            yield from self.of_digest(resumed, visit, wait)
        if not resumed.future.done():
            return
        error = resumed.future.exception()
        if error is not None:
            yield from self.of_refusal(resumed, error, len(uses))
        elif (receipt := resumed.future.result()).state == "settled":
            yield from self.of_settled(resumed, receipt, uses)
        elif receipt.state != "remembered" or receipt.for_s != self.scene.remember:
            yield f"{resumed.value} came to {receipt}"
        elif not uses and not self.is_kept(resumed):
            yield f"{resumed.value} was remembered and is lost"

    def of_digest(self, resumed: Resumed, visit: Visit, wait: Wait) -> Iterator[str]:
        """A bound ticket is given what quotes its digest."""
        asked = asked_for(wait, resumed.name)
        if asked.bind is not None and asked.bind != resumed.bind:
            yield f"{visit.path}, bound to {asked.bind}, was given what quotes {resumed.bind}"

    def of_settled(self, resumed: Resumed, receipt: Receipt, uses: list[tuple[Visit, Wait]]) -> Iterator[str]:
        """The request that the receipt names goes on with the value, or was cut before its code heard of it."""
        named = next((visit for visit in self.scene.visits if visit.id and visit.id == receipt.request), None)
        if named is None:
            yield f"{resumed.value} was settled for {receipt.request}, which never waited"
        elif uses and uses[0][0] is not named:
            yield f"{resumed.value} was settled for {named.path} and given to {uses[0][0].path}"
        elif not uses and not any(self.is_cut(named, wait, resumed.name) for wait in named.waits):
            yield f"{resumed.value} was settled for {named.path}, which heard nothing of it"

    def is_cut(self, visit: Visit, wait: Wait, name: str) -> bool:
        """Whether a value may have been there for `wait`, and its code heard of something else first."""
        if name not in wait.names or wait.error is None:
            return False
        if isinstance(wait.error, ClientGone) or len(wait.asked) > 1:
            return True
        return isinstance(wait.error, ParkTimeout) and self.late(visit)

    def of_refusal(self, resumed: Resumed, error: BaseException, uses: int) -> Iterator[str]:
        """It must have had a reason, and nobody was given the value."""
        if uses:
            yield f"{resumed.value} was refused and given all the same"
        others = [one for one in self.scene.resumes if one is not resumed and one.name == resumed.name]
        taken = [one for one in others if one.future.done() and one.future.exception() is None]
        waits = [wait for _, wait in self.waits if resumed.name in wait.names]
        match error:
            case TicketRefused(status=409, state="remembered"):
                reason = any(one.future.result().state == "remembered" for one in taken)
            case TicketRefused(status=409, state="settled"):
                reason = bool(taken)
            case TicketRefused(status=409, state="parked"):
                reason = any(asked_for(wait, resumed.name).bind not in (None, resumed.bind) for wait in waits)
            case TicketRefused(status=410, state="lapsed"):
                reason = any(self.has_lapsed(wait, resumed.name) for wait in waits)
            case _:
                reason = False
        if not reason:
            yield f"{resumed.value} was refused without a reason: {error!r}"

    def has_lapsed(self, wait: Wait, name: str) -> bool:
        """Whether it waited for `name` and was given no value for it."""
        if wait.values is None:
            return True
        return any(
            asked.name == name and value == asked.default for asked, value in zip(wait.asked, wait.values, strict=True)
        )

    def is_kept(self, resumed: Resumed) -> bool:
        """Whether a remembered value that nobody was given is there still, or had a reason to go."""
        scene = self.scene
        if scene.lab.clock.seconds() - resumed.at >= scene.remember:
            return True
        if scene.lab.house.tickets.book.look(resumed.name)["state"] == "remembered":
            return True
        return any(
            asked_for(wait, resumed.name).bind not in (None, resumed.bind) or self.is_cut(visit, wait, resumed.name)
            for visit, wait in self.waits
            if resumed.name in wait.names
        )


def settlement(resumed: Resumed) -> Receipt | None:
    """The receipt of a resume that settled its ticket."""
    if not resumed.future.done() or resumed.future.exception() is not None:
        return None
    receipt = resumed.future.result()
    return receipt if receipt.state == "settled" else None


def asked_for(wait: Wait, name: str) -> Asked:
    """How `wait` asked for `name`."""
    return next(one for one in wait.asked if one.name == name)
