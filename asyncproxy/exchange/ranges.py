"""Range requests that cost far more than they ask for (RFC 9110 section 14.2, RFC 7233 section 6.1).

A field of some kilobytes can ask for a whole file a thousand times. A server may ignore any Range, and is told to be
wary of many ranges, and of ranges that overlap; no client that means well sends them.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

MOST: Final = 200
"""Ranges of one request that are taken, as in Apache httpd; viewers of documents ask for some dozens."""
_RANGE: Final = re.compile(rb"(\d{0,18})-(\d{0,18})")


def is_excessive(value: bytes) -> bool:
    """Whether the ranges of a Range field are too many, overlap, or are none that can be told apart."""
    unit, _, listed = value.partition(b"=")
    if unit.strip().lower() != b"bytes":
        return False  # nobody here knows another unit, so it is ignored anyway
    ranges = [part.strip(b" \t") for part in listed.split(b",", MOST + 1)]
    if len(ranges) == 1:
        return False
    return len(ranges) > MOST or _overlap(ranges)


def _overlap(ranges: list[bytes]) -> bool:
    """Whether any two of `ranges` may have a byte in common, but for the last bytes, whose place is not known."""
    bounds: list[tuple[int, float]] = []
    suffixes = 0
    for text in ranges:
        found = _RANGE.fullmatch(text)
        if found is None or text == b"-":
            return True
        first, last = found.groups()
        if first:
            bounds.append((int(first), int(last) if last else float("inf")))
        else:
            suffixes += 1
    bounds.sort()
    apart = all(one[1] < other[0] for one, other in pairwise(bounds))
    return suffixes > 1 or not apart
