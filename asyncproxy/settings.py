"""Typed settings of a module: what its class annotates, read from what a configuration gives.

Types are checked by msgspec, so whatever it converts may be annotated. What it cannot know is added here: durations
and sizes with their units at any depth, the nearest name for a key that is misspelt, and all problems at once. Reading
is pure and happens at start.
"""

import copy
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, get_origin, get_type_hints

import msgspec
from msgspec import Meta
from msgspec import inspect as kinds

from asyncproxy.exchange.units import duration, size

__all__ = [
    "Duration",
    "SettingsError",
    "Size",
    "expected",
    "read_by",
    "read_settings",
    "reader",
    "settings_of",
    "shown",
]


def read_by(read: Callable[[object], object]) -> Meta:
    """The mark on a type that has its value read by ``read``, which raises ValueError with a mend."""
    return Meta(extra={"read": read})


def reader(kind: Any) -> Callable[[object], object] | None:
    """The function that a type is marked with, if any."""
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.extra:
            read: Callable[[object], object] = meta.extra["read"]
            return read
    return None


Duration = Annotated[float, read_by(duration)]
"""Seconds, a float: written ``"250ms"``, ``"30s"``, ``"10m"``, ``"2h"``, ``"1d"``, never without a unit.

``"off"`` is None for a ``Duration | None``, as for a ``Size | None``.
"""
Size = Annotated[int, read_by(size)]
"""Bytes, an int: written ``"512B"``, ``"64KiB"``, ``"10MiB"``, ``"1GiB"``, or decimal as ``"64KB"``."""


class SettingsError(ValueError):
    """All that is wrong with a module's settings. ``problems`` are pairs: which setting, and the words."""

    def __init__(self, module: str, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{module}.{place}: {words}" for place, words in self.problems))


def settings_of(module: type, base: type) -> dict[str, Any]:
    """The types of a module's settings by name: all that it annotates, but for private names and ClassVars.

    Its bases count up to ``base``, whose own annotated names are no settings. Raises SettingsError for an annotation
    that cannot be evaluated.
    """
    taken = {name for owner in base.__mro__ for name in inspect.get_annotations(owner)}
    found: dict[str, Any] = {}
    problems = []
    for owner in reversed(module.__mro__):
        for name, annotation in () if issubclass(base, owner) else inspect.get_annotations(owner).items():
            if name.startswith("_") or name in taken:
                continue
            try:
                found[name] = _evaluated(owner, name, annotation)
            except (NameError, AttributeError, SyntaxError, TypeError) as why:
                mend = f"import what it names, or call it _{name} if it is no setting"
                problems.append((name, f"its annotation {annotation} cannot be evaluated: {why}; {mend}"))
    if problems:
        raise SettingsError(module.__name__, problems)
    return {name: kind for name, kind in found.items() if ClassVar not in (kind, get_origin(kind))}


def _evaluated(owner: type, name: str, annotation: Any) -> Any:
    """One annotation alone: another that cannot be evaluated may be a private name's, which is no matter."""
    alone = type(owner.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
    return get_type_hints(alone, localns=dict(vars(owner)), include_extras=True)[name]


def read_settings(module: object, base: type, given: Mapping[str, object]) -> dict[str, Any]:
    """What to set on ``module``, an instance: ``given``, read, and copies of defaults that can be changed.

    Raises SettingsError, with all problems.
    """
    types = settings_of(type(module), base)
    reading = _Reading()
    reading.unknown(given, types, "")
    settings = {}
    for name, kind in types.items():
        try:
            if name in given:
                settings[name] = reading.value(kind, given[name], name)
            elif not hasattr(module, name):
                reading.missing(kind, name)
            elif (own := reading.default(kind, default := getattr(module, name), name)) is not default:
                settings[name] = own
        except TypeError as why:
            mend = f"annotate another, or call it _{name} if it is no setting"
            reading.problem(name, f"a configuration cannot fill its type, {kind}: {why}; {mend}")
    if reading.problems:
        raise SettingsError(type(module).__name__, reading.problems)
    return settings


class _Reading:
    """One reading of a module's settings, which gathers problems as it goes."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []

    def problem(self, place: str, words: str) -> None:
        self.problems.append((place, words))

    def unknown(self, table: Mapping[str, object], known: Iterable[str], place: str) -> None:
        names = sorted(known)
        for key in table:
            if key not in names:
                near = get_close_matches(str(key), names, n=1)
                mend = f"did you mean {near[0]}?" if near else f"known are {', '.join(names) or 'none'}"
                self.problem(f"{place}.{key}".lstrip("."), f"no such setting; {mend}")

    def missing(self, kind: Any, place: str) -> None:
        read = reader(kind)
        try:
            wanted = read(None) if read else msgspec.convert(object(), kind)
        except msgspec.ValidationError as why:
            wanted = expected(str(why))
        except ValueError as why:
            wanted = str(why).partition("; ")[2]
        self.problem(place, f"is missing, and has no default; {wanted}")

    def value(self, kind: Any, given: object, place: str) -> Any:
        """What an instance gets for ``given``; None when that was noted as a problem."""
        before = len(self.problems)
        ready = self.checked(kind, given, place)
        return msgspec.convert(ready, kind) if len(self.problems) == before else None

    def default(self, kind: Any, default: object, place: str) -> Any:
        """A class's default for one instance: text is read, what can be changed is copied."""
        if isinstance(default, str):
            return self.ready(kinds.type_info(kind), default, place)
        table = isinstance(default, msgspec.Struct) or dataclasses.is_dataclass(default)
        return copy.deepcopy(default) if table or isinstance(default, (list, dict, set, bytearray)) else default

    def checked(self, kind: Any, given: object, place: str) -> object:
        """``given`` with its units read, once ``kind`` has been found to take it."""
        before = len(self.problems)
        try:
            ready = self.ready(kinds.type_info(kind), given, place)
            if len(self.problems) == before:
                msgspec.convert(ready, kind)
        except msgspec.ValidationError as error:
            self.mismatch(kind, error, ready, place)
        else:
            return ready
        return given

    def mismatch(self, kind: Any, error: msgspec.ValidationError, given: object, place: str) -> None:
        words, _, path = str(error).partition(" - at `$")
        found, inner = _followed(given, path.removesuffix("`"))
        try:
            mend = "" if inner else f"; write {shown(msgspec.convert(given, kind, strict=False))}"
        except msgspec.ValidationError:
            mend = ""
        self.problem(f"{place}{inner}", f"{expected(words)}, not {_short(shown(found))}{mend}")

    def ready(self, kind: kinds.Type, given: Any, place: str) -> Any:
        """``given`` with all that has a unit read; what msgspec says badly about it is said here."""
        match kind:
            case kinds.Metadata(type=_, extra={"read": read}):
                return self.quantity(read, given, place)
            case kinds.Metadata(type=inner):
                return self.ready(inner, given, place)
            case kinds.UnionType(types=types):
                return self.one_of(types, given, place)
            case kinds.LiteralType(values=values):
                return self.choice(values, given, place)
            case kinds.EnumType(cls=cls) if not isinstance(given, cls):
                return self.choice([member.value for member in cls], given, place)
            case kinds.AnyType() | kinds.CustomType():
                return _as_given(kind, given)
            case kinds.CollectionType(item_type=item) if isinstance(given, (list, tuple)):
                return [self.ready(item, one, f"{place}[{index}]") for index, one in enumerate(given)]
            case kinds.DictType(value_type=item) if isinstance(given, Mapping):
                return {key: self.ready(item, one, f"{place}.{key}") for key, one in given.items()}
            case kinds.StructType() | kinds.DataclassType() | kinds.TypedDictType() if isinstance(given, Mapping):
                return self.table(kind, given, place)
        return given

    def quantity(self, read: Callable[[object], object], given: object, place: str) -> object:
        try:
            return read(given)
        except ValueError as why:
            self.problem(place, str(why))
            return given

    def choice(self, values: Iterable[object], given: object, place: str) -> object:
        choices = list(values)
        if given not in choices:
            near = get_close_matches(str(given), map(str, choices), n=1)
            mend = f"; did you mean {near[0]}?" if near else ""
            self.problem(place, f"expected one of {', '.join(map(shown, choices))}, not {_short(shown(given))}{mend}")
        return given

    def one_of(self, types: Iterable[kinds.Type], given: object, place: str) -> object:
        members = [member for member in types if not isinstance(member, kinds.NoneType)]
        marked = any(isinstance(member, kinds.Metadata) and member.extra for member in members)
        optional = len(members) < len(tuple(types))
        if optional and (given is None or (marked and given == "off")):
            return None
        if len(members) == 1:
            return self.ready(members[0], given, place)
        for member in members:
            trial = _Reading()
            ready = trial.ready(member, given, place)
            if ready is not given and not trial.problems:
                return ready
        return given  # msgspec knows which it is, or says what was expected

    def table(
        self, kind: kinds.StructType | kinds.DataclassType | kinds.TypedDictType, given: Mapping[str, Any], place: str
    ) -> dict[str, object]:
        fields = {field.encode_name: field for field in kind.fields}
        tag = kind.tag_field if isinstance(kind, kinds.StructType) and kind.tag_field else None
        self.unknown(given, [*fields, tag] if tag else fields, place)
        types = get_type_hints(kind.cls, include_extras=True)
        ready = dict(given)
        for key, field in fields.items():
            if key in given:
                ready[key] = self.checked(types[field.name], given[key], f"{place}.{key}")
            elif field.required:
                self.missing(types[field.name], f"{place}.{key}")
        return ready


def _as_given(kind: kinds.AnyType | kinds.CustomType, given: object) -> object:
    """Raises TypeError for what only a program can give."""
    if isinstance(kind, kinds.CustomType) and not isinstance(given, kind.cls):
        raise TypeError(f"nothing in TOML is a {kind.cls.__name__}")
    return _copied(given)


def _copied(value: object) -> object:
    """``value`` with lists and tables of its own: what an instance changes stays what was given."""
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return {key: _copied(one) for key, one in value.items()} if isinstance(value, dict) else value


_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")


def _followed(value: Any, path: str) -> tuple[object, str]:
    """What stands at msgspec's ``path`` below ``value``, and the path; a key that msgspec hides ends the way."""
    at = 0
    while (step := _STEP.match(path, at)) is not None:
        value = value[step[1]] if step[1] else value[int(step[2])]
        at = step.end()
    return value, path[:at]


def expected(words: str) -> str:
    """What msgspec wanted, in the words of TOML."""
    wanted = words.partition(", got")[0].replace("`", "").replace("object", "a table").replace("array", "a list")
    return f"{wanted[0].lower()}{wanted[1:]}"


def shown(value: object) -> str:
    """A value in an error, as TOML would have it where that is simple."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
