"""A module's class from its name in a configuration: a stock name, or ``package.file:Class``.

Names are data here, so that nothing is imported before a route asks for it. Whoever mistypes a name, or whose file
does not import, reads what was looked for, where, and what to write instead.
"""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Final

__all__ = ["STOCK", "UnknownModule", "find_module"]

STOCK: Final[Mapping[str, str]] = {
    "reverse": "asyncproxy.modules.reverse:Reverse",
    "status": "asyncproxy.modules.status:Status",
}
"""Stock modules by short name. Plugins, when they come, add to what is found here."""

_BASE: Final = "asyncproxy.module:Module"


class UnknownModule(ValueError):
    """A name that leads to no module; the text says why not and what to write."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f'module "{name}": {problem}')


def find_module(name: str) -> type[Any]:
    """The class that ``name`` means, a subclass of ``asyncproxy.module.Module``.

    Imports its file, which may run any code, so call it at start and not on the way of a request. Files are looked for
    on ``sys.path``; ``twistd`` does not put the current directory there, its caller does. Raises UnknownModule, whose
    ``__cause__`` is the file's own exception where there was one.
    """
    where, colon, called = STOCK.get(name, name).partition(":")
    if not colon:
        raise UnknownModule(name, _no_such_name(name))
    if not _is_dotted(where) or not _is_dotted(called):
        raise UnknownModule(name, _bad_name(where, called))
    found = _attribute(name, _file(name, where), called)
    return _module_class(name, found)


def _file(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{where}.".startswith(f"{error.name}."):
            raise UnknownModule(name, _no_such_file(where, error.name)) from error
        raise UnknownModule(name, _raised(where, error)) from error
    except (Exception, SystemExit) as error:
        raise UnknownModule(name, _raised(where, error)) from error


def _attribute(name: str, file: ModuleType, called: str) -> object:
    found: object = file
    for part in called.split("."):
        if not hasattr(found, part):
            raise UnknownModule(name, _no_such_class(file, found, part))
        found = getattr(found, part)
    return found


def _module_class(name: str, found: object) -> type[Any]:
    where, _, called = _BASE.partition(":")
    base = getattr(importlib.import_module(where), called)
    if not isinstance(found, type):
        raise UnknownModule(name, f"is {_an_instance(found)} and not a class; name the class, a subclass of {_BASE}")
    if not issubclass(found, base):
        raise UnknownModule(name, f"{found.__name__} is a class, but no subclass of {_BASE}; derive it from that")
    return found


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _no_such_name(name: str) -> str:
    stock = f"stock modules are {', '.join(STOCK)}"
    package, dot, called = name.rpartition(".")
    if dot and _is_dotted(name):
        return f'no stock module has this name; for a class of yours write a colon before it, "{package}:{called}"'
    return f'no stock module has this name; {_perhaps(name, STOCK)}{stock}, and yours is "package.file:Class"'


def _bad_name(where: str, called: str) -> str:
    dotted = where.removesuffix(".py").lstrip("./").replace("/", ".")
    if _is_dotted(dotted) and _is_dotted(called):
        return f'is a path and not a dotted name; write "{dotted}:{called}"'
    return 'is not a dotted name; write "package.file:Class"'


def _no_such_file(where: str, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent)
    looked = list(getattr(package, "__path__", ())) if parent else [entry or "." for entry in sys.path]
    near = _perhaps(last, (found.name for found in pkgutil.iter_modules(looked)))
    mend = f"{near}looked in {', '.join(map(str, looked)) or f'{parent}, which is a file and no package'}"
    asked = f" (for {where})" if missing != where else ""
    return f"there is no {missing.replace('.', '/')}.py and no package {missing}{asked}; {mend}"


def _raised(where: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The importer's own frames say nothing to who wrote the file; the last of theirs does.
    theirs = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    if isinstance(error, SyntaxError):
        line = f" ({error.filename}, line {error.lineno})"
        return f"{where} does not import: {type(error).__name__}: {error.msg}{line}; mend that file"
    line = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return f"{where} does not import: {type(error).__name__}: {error}{line}; mend that file, or install what it needs"


def _no_such_class(file: ModuleType, owner: object, part: str) -> str:
    near = _perhaps(part, (name for name in dir(owner) if not name.startswith("_")))
    place = getattr(file, "__file__", None) or file.__name__
    return f"{place} has no {part}; {near}the part behind the colon is a class of that file"


def _perhaps(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def _an_instance(found: object) -> str:
    kind = type(found).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
