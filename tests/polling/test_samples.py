"""The last ten minutes in figures; see `polling.samples`."""

from __future__ import annotations

import pytest

from asyncproxy import Module, Request, Response, sleep
from asyncproxy.polling.samples import COLUMNS, EVERY, KEPT, Samples, quantile
from asyncproxy.polling.tally import BOUNDS
from tests.fakes import House


class Sleeps(Module):
    async def handle(self, request: Request) -> Response:
        await sleep(float(request.path[1:]))
        return Response()


def counts(**buckets: int) -> list[int]:
    return [buckets.get(f"b{index}", 0) for index in range(len(BOUNDS) + 1)]


def test_a_sample_tells_rate_latency_and_stages() -> None:
    house = House(Sleeps())
    samples = Samples(house.flow)
    house.get("/600")
    for _ in range(10):
        house.get("/0.02")
    house.advance(EVERY)
    samples.take()
    sample = dict(zip(COLUMNS, samples.ring[-1], strict=True))
    assert sample["rate"] == 2
    assert sample["at"] == house.flow.seconds()
    assert 0.01 < sample["p50_s"] < sample["p99_s"] < 0.05
    assert (sample["PARKED"], sample["WORKING"]) == (1, 0)


def test_latency_is_that_of_the_last_seconds_alone() -> None:
    house = House(Sleeps())
    samples = Samples(house.flow)
    house.get("/20")
    house.advance(25)
    samples.take()
    house.advance(5)
    samples.take()
    assert [sample[2] is None for sample in samples.ring] == [False, True]


def test_samples_are_taken_by_themselves_and_the_eldest_are_dropped() -> None:
    house = House(Sleeps())
    samples = Samples(house.flow)
    samples.start()
    house.advance(EVERY * (KEPT + 3))
    assert len(samples.ring) == KEPT
    assert samples.taken == KEPT + 3
    samples.stop()
    house.advance(EVERY * 2)
    assert samples.taken == KEPT + 3
    house.assert_nothing_left()


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        (counts(), 0.5, None),
        (counts(b0=10), 0.5, 0.0005),
        (counts(b0=50, b1=50), 0.5, 0.001),
        (counts(b0=50, b1=50), 0.75, 0.00175),
        (counts(b2=1), 0.99, 0.004975),
        (counts(b0=99, b17=1), 1.0, BOUNDS[-1]),
    ],
)
def test_a_quantile_is_where_its_bucket_says(buckets: list[int], share: float, seconds: float | None) -> None:
    assert quantile(buckets, share) == seconds
