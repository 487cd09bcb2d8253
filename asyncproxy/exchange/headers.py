"""Header fields: bytes kept as received, read as text.

A field's name has no case, its value is latin-1 text (RFC 9110 section 5.5). The list of pairs is the truth; there is
no index beside it, for most messages are only passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

RawHeaders = list[tuple[bytes, bytes]]
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

HeaderSource: TypeAlias = "Headers | Mapping[str, str] | Iterable[tuple[str, str]]"


def encode_field(name: str, value: str) -> tuple[bytes, bytes]:
    """`name` and `value` as bytes for the wire.

    Raises ValueError for what would break the message's framing: a name that is no token (RFC 9110 section 5.6.2), or
    a value with a control character or anything beyond latin-1.
    """
    try:
        raw_name, raw_value = name.encode("ascii"), value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError as why:
        raise ValueError(f"header {name!r}: names are ASCII, values are latin-1: {why}") from None
    if not _NAME.fullmatch(raw_name):
        raise ValueError(f"header name {name!r} is no token: letters, digits and !#$%&'*+-.^_`|~ only")
    if not _VALUE.fullmatch(raw_value):
        raise ValueError(f"header {name}: the value has a control character: {value!r}")
    return raw_name, raw_value


class Headers:
    """Fields in order; names without case, values as str.

    ``h["x"]`` is the first value (KeyError if there is none), ``getall`` every one; iteration gives (name, value)
    pairs in order. Those of a request are read-only: changing them raises TypeError.
    """

    __slots__ = ("_frozen", "raw")

    def __init__(self, source: HeaderSource = ()) -> None:
        self._frozen = False
        if isinstance(source, Headers):
            self.raw: RawHeaders = list(source.raw)
            """Pairs of bytes, in order: names as received, values without white space around them."""
            return
        pairs = source.items() if isinstance(source, Mapping) else source
        self.raw = [encode_field(name, value) for name, value in pairs]

    @classmethod
    def received(cls, raw: RawHeaders, *, frozen: bool = False) -> Headers:
        """Headers around `raw` as it came from the wire; the list is kept, not copied."""
        self = cls.__new__(cls)
        self.raw = raw
        self._frozen = frozen
        return self

    def getall(self, name: str) -> list[str]:
        """Every value of `name`, in order; an empty list if there is none."""
        key = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for field, value in self.raw if field.lower() == key]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`, or `default`."""
        key = name.lower().encode("latin-1", "replace")
        for field, value in self.raw:
            if field.lower() == key:
                return value.decode("latin-1")
        return default

    def add(self, name: str, value: str) -> None:
        """Append a field, whatever others of its name there are. Raises ValueError for what cannot be sent."""
        self._check_thawed()
        self.raw.append(encode_field(name, value))

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        """Replace every field of `name` by one, at the place of the first."""
        self._check_thawed()
        field = encode_field(name, value)
        key = field[0].lower()
        places = [index for index, (known, _) in enumerate(self.raw) if known.lower() == key]
        if not places:
            self.raw.append(field)
            return
        self.raw[places[0]] = field
        for index in reversed(places[1:]):
            del self.raw[index]

    def __delitem__(self, name: str) -> None:
        """Take every field of `name` out. Raises KeyError if there is none."""
        self._check_thawed()
        key = name.lower().encode("latin-1", "replace")
        kept = [field for field in self.raw if field[0].lower() != key]
        if len(kept) == len(self.raw):
            raise KeyError(name)
        self.raw[:] = kept

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self.raw:
            yield name.decode("latin-1"), value.decode("latin-1")

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(n.lower(), v) for n, v in self.raw] == [(n.lower(), v) for n, v in other.raw]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Headers {', '.join(f'{name}: {value}' for name, value in self)}>"

    def _check_thawed(self) -> None:
        if self._frozen:
            raise TypeError("a request's headers are read-only; pass headers= to forward() to send others")


NO_FIELDS: Final = Headers.received([], frozen=True)
"""None, read-only."""
