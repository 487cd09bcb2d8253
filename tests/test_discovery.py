import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from twisted.logger import capturedLogs, formatEvent

import twisted.plugins
from asyncproxy import discovery
from asyncproxy.discovery import STOCK, UnknownModule, find_module
from asyncproxy.plugin import ModuleMaker


@pytest.fixture(autouse=True)
def _base_class(monkeypatch):
    """A stand-in for asyncproxy.module until that is there."""
    if importlib.util.find_spec("asyncproxy.module") is None:
        stub = ModuleType("asyncproxy.module")
        stub.Module = type("Module", (), {})
        monkeypatch.setitem(sys.modules, "asyncproxy.module", stub)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A stranger's package in a directory that is on sys.path; ``shop(name, text)`` writes a file of it."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    package = tmp_path / "shopfront"
    package.mkdir()

    def write(name: str, text: str) -> Path:
        file = package / f"{name}.py"
        file.write_text(text)
        importlib.invalidate_caches()
        return file

    write("__init__", "")
    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "shopfront":
            del sys.modules[name]


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A directory that Twisted finds plugin files in; ``plugins(name, text)`` writes one."""
    folder = tmp_path / "site" / "twisted" / "plugins"
    folder.mkdir(parents=True)
    monkeypatch.setattr(twisted.plugins, "__path__", [str(folder)])
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        file = folder / f"{name}.py"
        file.write_text(f"from asyncproxy.plugin import ModuleMaker\n{text}\n")
        importlib.invalidate_caches()
        return file

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("twisted.plugins."):
            del sys.modules[name]
            delattr(twisted.plugins, name.rpartition(".")[2])


HELLO = "from asyncproxy.module import Module\nclass Hello(Module): ...\nhello = Hello\nnumber = 5\nclass Other: ...\n"


def problem(name):
    with pytest.raises(UnknownModule) as caught:
        find_module(name)
    assert caught.value.name == name
    prefix = f'module "{name}": '
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def test_a_class_is_found_by_its_dotted_path(shop):
    shop("hello", HELLO)
    assert find_module("shopfront.hello:Hello").__name__ == "Hello"


def test_a_class_inside_a_class_is_found(shop):
    shop("nest", "from asyncproxy.module import Module\nclass A:\n    class B(Module): ...\n")
    assert find_module("shopfront.nest:A.B").__qualname__ == "A.B"


def test_a_stock_name_imports_its_file_and_no_other(shop, monkeypatch):
    shop("hello", HELLO)
    shop("second", HELLO)
    table = {"hello": "shopfront.hello:Hello", "second": "shopfront.second:Hello"}
    monkeypatch.setattr(discovery, "STOCK", table)
    assert find_module("hello").__module__ == "shopfront.hello"
    assert "shopfront.second" not in sys.modules


def test_the_stock_modules_stand_where_the_house_says():
    assert STOCK == {
        "resource": "asyncproxy.modules.resource:Mounted",
        "reverse": "asyncproxy.modules.reverse:Reverse",
        "status": "asyncproxy.modules.status:Status",
        "tickets": "asyncproxy.modules.tickets:Tickets",
    }


@pytest.mark.parametrize("name", sorted(STOCK))
def test_every_stock_module_is_a_module(name):
    assert isinstance(find_module(name), type)


def test_an_unknown_short_name_is_told_the_stock_and_the_nearest(plugins):
    mend = 'stock modules are resource, reverse, status, tickets; plugins are none; yours is "package.file:Class"'
    assert problem("revers") == f"no module has this name; did you mean reverse? {mend}"
    assert problem("frobnicate") == f"no module has this name; {mend}"


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("shopfront.hello.Hello", 'for a class of yours write a colon before it, "shopfront.hello:Hello"'),
        ("./shopfront/hello.py:Hello", 'is a path and not a dotted name; write "shopfront.hello:Hello"'),
        ("shopfront.hello:", 'is not a dotted name; write "package.file:Class"'),
        (":Hello", 'is not a dotted name; write "package.file:Class"'),
        ("a b:C", 'is not a dotted name; write "package.file:Class"'),
        ("..up:C", 'is a path and not a dotted name; write "up:C"'),
    ],
)
def test_a_name_of_another_shape_is_told_the_right_one(name, mend):
    assert mend in problem(name)


def test_a_missing_file_is_told_where_it_was_looked_for_and_the_nearest(shop):
    package = shop("hello", HELLO).parent
    assert problem("shopfront.helo:Hello") == (
        f"there is no shopfront/helo.py and no package shopfront.helo; did you mean hello? looked in {package}"
    )
    told = problem("shopfrnt.hello:Hello")
    assert told.startswith(
        "there is no shopfrnt.py and no package shopfrnt (for shopfrnt.hello); did you mean shopfront? looked in "
    )
    assert str(package.parent) in told
    assert "looked in shopfront.hello, which is a file and no package" in problem("shopfront.hello.more:Hello")


def test_a_file_that_raises_on_import_is_told_with_its_own_words_and_line(shop):
    file = shop("broken", "x = 1\nraise RuntimeError('no database')\n")
    assert problem("shopfront.broken:Hello") == (
        f"shopfront.broken does not import: RuntimeError: no database ({file}, line 2); "
        "mend that file, or install what it needs"
    )
    with pytest.raises(UnknownModule) as caught:
        find_module("shopfront.broken:Hello")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_missing_library_is_not_taken_for_a_missing_file(shop):
    file = shop("needy", "import no_such_library_at_all\n")
    assert problem("shopfront.needy:Hello") == (
        "shopfront.needy does not import: ModuleNotFoundError: No module named 'no_such_library_at_all' "
        f"({file}, line 1); mend that file, or install what it needs"
    )


def test_a_syntax_error_is_told_with_its_line_and_an_exit_does_not_end_us(shop):
    file = shop("typo", "x = 1\nclass Hello(:\n")
    assert re.fullmatch(
        rf"shopfront\.typo does not import: SyntaxError: .* \({re.escape(str(file))}, line 2\); mend that file",
        problem("shopfront.typo:Hello"),
    )
    shop("leaving", "import sys\nsys.exit(3)\n")
    assert "does not import: SystemExit: 3" in problem("shopfront.leaving:Hello")


def test_a_missing_class_is_told_with_the_nearest_of_its_file(shop):
    file = shop("hello", HELLO)
    assert problem("shopfront.hello:Helo") == (
        f"{file} has no Helo; did you mean Hello? the part behind the colon is a class of that file"
    )


def test_what_is_no_module_is_refused(shop):
    shop("hello", HELLO)
    assert problem("shopfront.hello:number") == (
        "is an int and not a class; name the class, a subclass of asyncproxy.module:Module"
    )
    assert problem("shopfront.hello:Other") == (
        "Other is a class, but no subclass of asyncproxy.module:Module; derive it from that"
    )


# Plugins.

DECLARED = 'hello = ModuleMaker("hello", "shopfront.hello:Hello", "Says hello.")'


def test_a_plugins_name_is_found_and_its_file_imported_only_then(shop, plugins):
    shop("hello", HELLO)
    plugins("shop_dropin", DECLARED + '\nother = ModuleMaker("other", "shopfront.nowhere:Other")')
    with pytest.raises(UnknownModule):
        find_module("unknown")
    assert "shopfront.hello" not in sys.modules
    assert find_module("hello").__module__ == "shopfront.hello"
    assert find_module("hello") is find_module("shopfront.hello:Hello"), "from Twisted's cache too"


def test_an_unknown_name_is_told_the_plugins_and_the_nearest(plugins):
    plugins("shop_dropin", DECLARED)
    assert problem("helo") == (
        "no module has this name; did you mean hello? stock modules are resource, reverse, status, tickets; "
        'plugins are hello; yours is "package.file:Class"'
    )


def test_a_plugin_whose_class_is_not_there_is_told_like_a_dotted_path(shop, plugins):
    file = shop("hello", HELLO)
    plugins("shop_dropin", 'hello = ModuleMaker("hello", "shopfront.hello:Helo")')
    assert problem("hello").startswith(f"{file} has no Helo; did you mean Hello?")


def test_two_plugins_of_one_name_are_told_with_a_way_out(plugins):
    plugins("a_dropin", DECLARED)
    plugins("b_dropin", 'mine = ModuleMaker("hello", "market.hello:Hello")')
    assert problem("hello") == (
        "is declared by twisted.plugins.a_dropin and by twisted.plugins.b_dropin; uninstall all but one, "
        'or write the class itself, "shopfront.hello:Hello" or "market.hello:Hello"'
    )


def test_a_plugin_cannot_take_a_stock_name(plugins):
    plugins("shop_dropin", 'status = ModuleMaker("status", "shopfront.hello:Hello")')
    assert find_module("status").__module__ == "asyncproxy.modules.status"
    assert problem("stats").endswith("; twisted.plugins.shop_dropin declares status, a stock module's name: rename it")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            'x = ModuleMaker("x", "shopfront.hello.Hello")',
            "ValueError: 'shopfront.hello.Hello' is not package.file:Class",
        ),
    ],
)
def test_a_plugin_file_that_does_not_import_is_said_never_swallowed(shop, plugins, text, words):
    shop("hello", HELLO)
    plugins("fine_dropin", DECLARED)
    file = plugins("shop_dropin", text)
    told = f"plugin file twisted.plugins.shop_dropin does not import: {words}"
    assert told in problem("helo")
    assert f"({file}, line 2)" in problem("helo")
    with capturedLogs() as logged:
        assert find_module("hello").__name__ == "Hello"
    assert any(formatEvent(event).startswith(told) for event in logged)


def test_a_plugin_file_that_breaks_after_it_was_cached_is_said(plugins):
    file = plugins("shop_dropin", DECLARED)
    assert "plugins are hello;" in problem("helo")
    del sys.modules["twisted.plugins.shop_dropin"]
    cached = (file.parent / "dropin.cache").stat().st_mtime
    file.write_text("raise RuntimeError('no licence')")
    os.utime(file, (cached - 100, cached - 100))
    importlib.invalidate_caches()
    assert "shop_dropin does not import: RuntimeError: no licence" in problem("helo")


def test_a_plugin_is_found_where_twisteds_cache_cannot_be_written(shop, plugins):
    shop("hello", HELLO)
    cache = plugins("shop_dropin", DECLARED).parent / "dropin.cache"
    cache.mkdir()  # whoever the tests run as, nobody writes a file here
    assert find_module("hello").__module__ == "shopfront.hello"
    assert cache.is_dir()


def test_twisteds_cache_names_nothing_of_ours(plugins):
    """Else every command of Twisted would import asyncproxy, and stumble once that is gone."""
    cache = plugins("shop_dropin", DECLARED).parent / "dropin.cache"
    assert "plugins are hello;" in problem("helo")
    assert b"shop_dropin" in cache.read_bytes()
    assert b"asyncproxy.plugin" not in cache.read_bytes()


def test_a_declaration_imports_no_reactor_and_nothing_that_serves():
    heavy = {
        "twisted.internet.reactor",
        "twisted.web.server",
        "uvloop",
        "treq",
        "asyncproxy.service",
        "asyncproxy.polling",
    }
    code = f"import sys, asyncproxy.plugin; print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "\n"


def test_other_peoples_plugins_are_left_alone(plugins):
    plugins(
        "other_dropin",
        "from twisted.application.service import ServiceMaker\n"
        "other = ServiceMaker('other', 'no.such.file', 'x', 'other')\n"
        "from twisted.plugin import IPlugin\nfrom zope.interface import implementer\n"
        "bare = implementer(IPlugin)(type('Bare', (), {}))()",
    )
    assert "plugins are none;" in problem("helo")


@pytest.mark.parametrize(
    "arguments", [("", "a:B"), ("a:b", "a:B"), ("a ", "a:B"), ("a", "a.B"), ("a", ":B"), ("a", "b:")]
)
def test_a_declaration_of_another_shape_is_refused_with_an_example(arguments):
    with pytest.raises(ValueError, match=r'write for example ModuleMaker\("orders", "orders_proxy.module:Orders"'):
        ModuleMaker(*arguments)
