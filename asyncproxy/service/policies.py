"""What becomes of a ticket that nobody resumes, as far as the code of a route's module tells: for ``--check``.

The rule: code is read and never run. A call of `ticket` is known by what its name means in the file of the module's
class, and seen in the class and in functions of that file which it calls; one that is made elsewhere, in a library of
the module's, is not seen. What only running the code tells is said to be unknown, never guessed.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from asyncproxy.exchange.tickets import ticket
from asyncproxy.exchange.units import duration_text
from asyncproxy.module import Module
from asyncproxy.service.binding import Bound

_ARGUMENTS: Final = ("name", "timeout", "default", "bind")
_HEAD: Final = ("PATH", "TICKET", "AT", "WAITS", "THEN")


def ticket_policies(bindings: Sequence[Bound]) -> list[tuple[str, ...]]:
    """A row for each call of `ticket` in the modules of `bindings`, below a row of headings; none if there is none."""
    rows = [(bound.path, *row) for bound in bindings for row in _rows(bound)]
    return [_HEAD, *rows] if rows else []


def _rows(bound: Bound) -> Iterator[tuple[str, ...]]:
    module = bound.module
    for kind in type(module).__mro__:
        if kind is Module or kind.__module__.startswith("asyncproxy.modules."):
            break
        known = vars(sys.modules[kind.__module__])
        for call, line in _calls(kind, known):
            where = f"{(inspect.getsourcefile(kind) or '').rpartition('/')[2]}:{line}"
            if any(isinstance(one, ast.Starred) for one in call.args) or any(
                word.arg is None for word in call.keywords
            ):
                yield "(unknown)", where, "(unknown)", "(unknown)"
                continue
            given = dict(zip(_ARGUMENTS, call.args, strict=False)) | {
                str(word.arg): word.value for word in call.keywords
            }
            then = _then(given, module, known)
            yield _name(given.get("name")), where, _patience(given.get("timeout"), bound, known), then


def _calls(kind: type, known: dict[str, Any]) -> Iterator[tuple[ast.Call, int]]:
    """The calls of `ticket` in a class and in the functions beside it that it calls, and the lines they are at."""
    texts: list[Any] = [kind]
    for text in texts:  # it grows meanwhile
        try:
            lines, first = inspect.getsourcelines(text)
        except (OSError, TypeError):  # made without a file: nothing of it can be seen
            continue
        for node in ast.walk(ast.parse(textwrap.dedent("".join(lines)))):
            if not isinstance(node, ast.Call):
                continue
            meant = _means(node.func, known)
            if meant is ticket:
                yield node, first + node.lineno - 1
            elif inspect.isfunction(meant) and meant.__module__ == kind.__module__ and meant not in texts:
                texts.append(meant)


def _means(node: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return getattr(known.get(node.value.id), node.attr, None)
    return None


def _name(node: ast.expr | None) -> str:
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return "(unguessable)"
    return ast.unparse(node)


def _patience(node: ast.expr | None, bound: Bound, known: dict[str, Any]) -> str:
    """How long it waits, in the configuration's words; a setting of the module's is looked up."""
    seconds = _value(node, bound.module, known)
    if isinstance(seconds, (int, float)):
        return duration_text(seconds)
    if node is not None and seconds is not None:
        return ast.unparse(node)
    return f"{duration_text(bound.timeout)} (the route's)" if bound.timeout else "without limit"


def _then(given: dict[str, ast.expr], module: Module, known: dict[str, Any]) -> str:
    """What a time-out comes to. What stands for a yes is said to be one: nobody has given it."""
    node = given.get("default")
    if node is None or ast.unparse(node).rpartition(".")[2] == "RAISE":
        return "ParkTimeout (504)"
    if _value(given.get("timeout"), module, known) is None:
        return f"ParkTimeout (504): without a timeout of its own, {ast.unparse(node)} is never given"
    said = f"goes on with {ast.unparse(node)}"
    return f"{said}: silence allows" if _allows(_value(node, module, known)) else said


def _allows(value: Any) -> bool:
    """Whether there is a yes in `value`."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return value is True or any(map(_allows, parts))


def _value(node: ast.expr | None, module: Module, known: dict[str, Any]) -> Any:
    """The value of a literal, a name of the file's or a setting, ``self.patience``; an ellipsis for what only running
    the code tells.
    """
    if node is None:
        return None
    if isinstance(node, ast.Name):
        return known.get(node.id, ...)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return getattr(module, node.attr, ...)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ...
