"""A module's class from its name in a configuration: a stock name, a plugin's, or ``package.file:Class``.

Names are data here, so that nothing is imported before a route asks for it. A stock name always means the stock
module: no plugin is looked for, and none can take its place. Whoever mistypes a name, or whose file does not import,
reads what was looked for, where, and what to write instead.
"""

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Final, NamedTuple

from twisted.logger import Logger
from twisted.plugin import CachedPlugin, IPlugin, getCache

import twisted.plugins
from asyncproxy.plugin import ModuleMaker

__all__ = ["STOCK", "UnknownModule", "find_module"]

STOCK: Final[Mapping[str, str]] = {
    "resource": "asyncproxy.modules.resource:Mounted",
    "reverse": "asyncproxy.modules.reverse:Reverse",
    "status": "asyncproxy.modules.status:Status",
    "tickets": "asyncproxy.modules.tickets:Tickets",
}
"""Stock modules by short name; plugins add to them, see ``asyncproxy.plugin``."""

_log = Logger()
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
    where, _, called = _place(name).partition(":")
    if not _is_dotted(where) or not _is_dotted(called):
        raise UnknownModule(name, _bad_name(where, called))
    found = _attribute(name, _file(name, where), called)
    return _module_class(name, found)


def _place(name: str) -> str:
    if ":" in name or name in STOCK:
        return STOCK.get(name, name)
    plugins, broken = declared()
    found = [plugin for plugin in plugins if plugin.maker.name == name]
    if not found:
        raise UnknownModule(name, _no_such_name(name, sorted({plugin.maker.name for plugin in plugins}), broken))
    if len(found) > 1:
        raise UnknownModule(name, _several(found))
    for problem in broken:
        _log.critical("{problem}", problem=problem)  # of this level it is seen before a log begins, as with --check
    return found[0].maker.place


class Declared(NamedTuple):
    """A module that a plugin file declares, and the file."""

    maker: ModuleMaker
    file: str


def declared() -> tuple[list[Declared], list[str]]:
    """The modules that plugin files on ``sys.path`` declare, and what is wrong with some of the files, in words."""
    dropins = getCache(twisted.plugins)
    found: list[Declared] = []
    broken = []
    for module in pkgutil.iter_modules(twisted.plugins.__path__):
        dropin = dropins.get(module.name)
        try:
            if dropin is None:  # Twisted could not import it, and has logged that: now it is ours to say why
                importlib.import_module(f"{twisted.plugins.__name__}.{module.name}")
            for plugin in dropin.plugins if dropin is not None else ():
                if (maker := _maker(plugin)) is not None:
                    found.append(Declared(maker, dropin.moduleName))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is said, with file and line
            broken.append(f"plugin file {_raised(f'{twisted.plugins.__name__}.{module.name}', error)}")
    taken = [plugin for plugin in found if plugin.maker.name in STOCK]
    broken += [f"{plugin.file} declares {plugin.maker.name}, a stock module's name: rename it" for plugin in taken]
    return [plugin for plugin in found if plugin not in taken], broken


def _maker(plugin: CachedPlugin) -> ModuleMaker | None:
    """The declaration behind Twisted's note of a plugin; one that provides more than IPlugin is not loaded."""
    loaded = plugin.load() if plugin.provided == [IPlugin] else None
    return loaded if isinstance(loaded, ModuleMaker) else None


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


def _no_such_name(name: str, plugins: Iterable[str], broken: Iterable[str]) -> str:
    package, dot, called = name.rpartition(".")
    names = [*STOCK, *plugins]
    if dot and _is_dotted(name) and not get_close_matches(name, names):
        return f'no module has this name; for a class of yours write a colon before it, "{package}:{called}"'
    known = f"stock modules are {', '.join(STOCK)}; plugins are {', '.join(plugins) or 'none'}"
    lost = "".join(f"; {problem}" for problem in broken)
    return f'no module has this name; {_perhaps(name, names)}{known}; yours is "package.file:Class"{lost}'


def _several(found: Iterable[Declared]) -> str:
    files = " and by ".join(plugin.file for plugin in found)
    classes = " or ".join(f'"{plugin.maker.place}"' for plugin in found)
    return f"is declared by {files}; uninstall all but one, or write the class itself, {classes}"


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
    ours = (__file__, inspect.getfile(ModuleMaker))
    theirs = [frame for frame in frames if "importlib" not in frame.filename and frame.filename not in ours]
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
