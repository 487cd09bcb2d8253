r"""Rows as aligned columns, fitted to a terminal.

The rule: what strangers sent is shown and never obeyed. A request's path may hold any character, so what does not print
is written out, as ``\x1b``: nothing of it moves a cursor or takes a line of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

GAP: Final = "  "
_MORE: Final = "…"


class Column(NamedTuple):
    """A column: its title, and the cells it may be narrowed to; None says that it is always shown whole.

    Of a `tail`, what is cut off is the beginning: its end says more.
    """

    title: str
    least: int | None = None
    tail: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table: a head of titles, then `rows`.

    With a `width`, columns that may be are narrowed until lines fit, the widest first; then whole columns are left out,
    from the right. The first is always there.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [_widest(column.title, (row[index] for row in cells)) for index, column in enumerate(columns)]
    if width is not None:
        widths = _fitted(columns, widths, width)
    lines = [[column.title for column in columns], *cells]
    return [GAP.join(map(_padded, line, widths, columns)).rstrip() for line in lines]


def plain(text: str) -> str:
    """`text` with what does not print written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def lasting(seconds: float | None) -> str:
    """A time as two units, such as ``3m20s``; ``-`` for None."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    for unit, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit}{name}" + (f"{rest}{part_name}" if rest else "")
    return f"{whole}s"


def shown_width(text: str) -> int:
    """Cells of a terminal that `text` takes: two for a wide character, none for a mark above another."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _widest(title: str, cells: Iterable[str]) -> int:
    return max(len(title), *map(shown_width, cells), 0)


def _fitted(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """`widths` of as many columns as fit, the narrowed ones narrower."""
    fitted = list(widths)
    while len(fitted) > 1:
        too_many = sum(fitted) + len(GAP) * (len(fitted) - 1) - width
        narrowed = _narrowed(columns, fitted, too_many)
        if narrowed is not None:
            return narrowed
        fitted.pop()
    return fitted


def _narrowed(columns: Sequence[Column], widths: Sequence[int], too_many: int) -> list[int] | None:
    """`widths` with `too_many` cells less, taken from the widest column each time; None if there are not so many."""
    widths = list(widths)
    for _ in range(too_many):
        open_to_it = [
            index for index, size in enumerate(widths) if (least := columns[index].least) is not None and size > least
        ]
        if not open_to_it:
            return None
        widths[max(open_to_it, key=widths.__getitem__)] -= 1
    return widths


def _padded(text: str, size: int, column: Column) -> str:
    """`text` in exactly `size` cells, cut short if it has more."""
    if shown_width(text) > size:
        text = _MORE + _cut(text[::-1], size - 1)[::-1] if column.tail else _cut(text, size - 1) + _MORE
    return text + " " * (size - shown_width(text))


def _cut(text: str, size: int) -> str:
    """The beginning of `text` that takes `size` cells at most."""
    widths = accumulate(map(shown_width, text))
    return text[: next((index for index, width in enumerate(widths) if width > size), len(text))]
