"""How many exchanges are in each stage: counted when asked, fast enough for thousands of them on the polling thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from asyncproxy.exchange.lifecycle import ENDED, QUEUED, STAGES, WORKING

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange

SHOWN: Final = tuple(stage for stage in STAGES if stage != ENDED)
"""The stages that an onlooker sees, in their order."""
_stage: Final = attrgetter("stage")


def stages_of(exchanges: Collection[Exchange]) -> dict[str, int]:
    """How many of `exchanges` are in each stage, as `Exchange.shown_stage` has it."""
    counts = dict.fromkeys(SHOWN, 0)
    counts.update(Counter(map(_stage, exchanges)))
    if counts[QUEUED]:
        begun = sum(exchange.stage is QUEUED and exchange.shown_stage is WORKING for exchange in exchanges)
        counts[QUEUED] -= begun
        counts[WORKING] += begun
    return counts
