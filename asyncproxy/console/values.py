"""What is typed on a command line as the value of a ticket."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, NoReturn

_SHOWN: Final = 100


def value_of(words: Sequence[str]) -> Any:
    """The JSON value that `words` are: none is true, one that is JSON is that, ``key=value`` pairs are an object.

    A pair's value is what it is as JSON, or else text. Raises ValueError, with what to write, for anything else.
    """
    try:
        return _value(words)
    except RecursionError:
        raise ValueError("the value is nested too deep") from None


def _value(words: Sequence[str]) -> Any:
    if not words:
        return True
    if len(words) == 1:
        try:
            return _json(words[0])
        except ValueError:
            if "=" not in words[0]:
                word = words[0] if len(words[0]) <= _SHOWN else f"{words[0][:_SHOWN]}..."
                raise ValueError(
                    f"{word!r} is not JSON; write '\"{word}\"' for text, or key=value for an object"
                ) from None
    return _object(words)


def _object(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not (sign and key):
            raise ValueError(f"{word!r} is no key=value; a single value is written as JSON, in quotes of the shell")
        if key in found:
            raise ValueError(f"{key!r} is given twice")
        found[key] = _json_or_text(text)
    return found


def _json_or_text(text: str) -> Any:
    try:
        return _json(text)
    except ValueError:
        return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_not_json, parse_float=_finite)


def _finite(text: str) -> float:
    """A number with a point or an exponent; one that is too large would be sent as Infinity."""
    number = float(text)
    return number if math.isfinite(number) else _not_json(text)


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
