"""The life of an exchange: ONE table, stage x happening -> stage.

The rule: a stage changes through `Life.enter` and in no other way; what is not in the table is refused. The table
knows nothing of sockets, threads or clocks: it is told what happened and when.

=============  ==================================================================================
stage          who has the exchange now
=============  ==================================================================================
RECEIVING      its body is being collected for a module that wants it whole
QUEUED         the queue of turns: it waits for a free worker
WORKING        a worker, or the polling thread for a module that does not block, runs its code
PARKED         nobody: it waits for I/O, a timer or a future
RESPONDING     the client's socket: the answer is on its way out
TUNNELLING     both sockets: bytes go both ways after an upgrade
ENDED          nobody, ever again
=============  ==================================================================================
"""

from __future__ import annotations

from typing import Any, Final

from asyncproxy.exchange.ledger import Ledger, shortened

RECEIVING: Final = "RECEIVING"
QUEUED: Final = "QUEUED"
WORKING: Final = "WORKING"
PARKED: Final = "PARKED"
RESPONDING: Final = "RESPONDING"
TUNNELLING: Final = "TUNNELLING"
ENDED: Final = "ENDED"
TRAIL_LIMIT: Final = 256
STAGES: Final = (RECEIVING, QUEUED, WORKING, PARKED, RESPONDING, TUNNELLING, ENDED)

HANDED: Final = "HANDED"
"""A turn was handed to the workers."""
BEGAN: Final = "BEGAN"
"""A turn began to run."""
WAITED: Final = "WAITED"
"""A turn ended in a wait: the exchange holds no thread."""
ANSWERED: Final = "ANSWERED"
"""There is an answer, or a next piece of one, for the client."""
SWITCHED: Final = "SWITCHED"
"""Both sides agreed on another protocol."""
FINISHED: Final = "FINISHED"
"""The last byte is out, or nobody is left to send it to."""
HAPPENINGS: Final = (HANDED, BEGAN, WAITED, ANSWERED, SWITCHED, FINISHED)

TABLE: Final[dict[str, dict[str, str]]] = {
    RECEIVING: {
        HANDED: QUEUED,
        WAITED: PARKED,  # a module that does not block ran and waits: no time passed between
        BEGAN: WORKING,
        ANSWERED: RESPONDING,
        FINISHED: ENDED,
    },
    QUEUED: {
        BEGAN: WORKING,
        ANSWERED: RESPONDING,  # its time ran out before a worker was free
        FINISHED: ENDED,
    },
    WORKING: {
        WAITED: PARKED,
        ANSWERED: RESPONDING,
        FINISHED: ENDED,
    },
    PARKED: {
        HANDED: QUEUED,
        BEGAN: WORKING,
        ANSWERED: RESPONDING,  # what it waited for is the answer: no turn is needed
        SWITCHED: TUNNELLING,
        FINISHED: ENDED,
    },
    RESPONDING: {
        HANDED: QUEUED,  # the next piece of a body is pulled from the module
        BEGAN: WORKING,
        SWITCHED: TUNNELLING,
        FINISHED: ENDED,
    },
    TUNNELLING: {FINISHED: ENDED},
    ENDED: {},
}


class LifecycleError(Exception):
    """A happening that the table does not allow: a defect of asyncproxy, never of a module or a peer."""


class Life:
    """The stage an exchange is in, and the trail of stages it has been in, which its ledger is read from.

    `waiting` is the ledger's column that parked time is booked under: PARKED, or UPSTREAM.
    """

    __slots__ = ("stage", "trail", "waiting")

    def __init__(self, now: float) -> None:
        self.stage = RECEIVING
        self.waiting = PARKED
        self.trail: list[Any] = [now]

    def enter(self, happening: str, now: float) -> None:
        """Take the step that `happening` means, at `now` seconds; the time spent so far goes on the trail."""
        stage = self.stage
        try:
            self.stage = TABLE[stage][happening]
        except KeyError:
            raise LifecycleError(f"{happening} cannot happen to an exchange that is {stage}") from None
        trail = self.trail
        trail.append(self.waiting if stage is PARKED else stage)
        trail.append(now)

    def shorten_trail(self) -> None:
        """Keep the trail within bounds; to be called now and then in a life of many steps."""
        if len(self.trail) > TRAIL_LIMIT:
            self.trail = shortened(self.trail)

    @property
    def ledger(self) -> Ledger:
        """Where the time went, up to the last step."""
        return Ledger(self.trail)

    @property
    def began(self) -> float:
        """When the exchange began."""
        return self.trail[0]  # type: ignore[no-any-return]
