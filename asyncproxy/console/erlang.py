"""How many servers a load needs so that hardly anybody waits: Erlang's formula, as telephone exchanges use it.

A load is in erlangs: seconds of work that arrive each second, so many servers would have it all if nobody ever waited.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator


def waiting_probability(servers: int, load: float) -> float:
    """The probability that a turn finds all `servers` busy and has to wait, at `load` erlangs: Erlang's C formula.

    1.0 where there are no more servers than load: the line grows without end. It supposes that turns arrive
    independently of each other; how long they take matters little. Raises ValueError for a load that is none.

    Source: A. K. Erlang, "Solution of some Problems in the Theory of Probabilities of Significance in Automatic
    Telephone Exchanges", Elektroteknikeren 13 (1917), in English in The Post Office Electrical Engineers' Journal 10
    (1918); computed by way of his B formula, B(n) = a B(n-1) / (n + a B(n-1)), C(n) = n B(n) / (n - a (1 - B(n))).
    """
    if servers < 1:
        raise ValueError(f"{servers} servers cannot work; there is 1 or more")
    for number, waiting in _probabilities(load):
        if number == servers:
            return waiting
    raise AssertionError("there is no end to them")


def smallest_pool(load: float, bound: float) -> int:
    """The least number of servers for which the probability to wait at `load` erlangs is no more than `bound`."""
    if not 0 < bound <= 1:
        raise ValueError(f"a bound of {bound} for a probability; it is above 0, and 1 at most")
    return next(number for number, waiting in _probabilities(load) if waiting <= bound and number > load)


def _probabilities(load: float) -> Iterator[tuple[int, float]]:
    """The probability to wait with 1 server, with 2, and so on."""
    if not (0 <= load < math.inf):
        raise ValueError(f"a load of {load} erlangs; it is 0 or more")
    lost = 1.0
    number = 0
    while True:
        number += 1
        lost = load * lost / (number + load * lost)
        yield number, number * lost / (number - load * (1 - lost)) if number > load else 1.0
