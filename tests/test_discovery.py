import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from asyncproxy import discovery
from asyncproxy.discovery import STOCK, UnknownModule, find_module


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
    assert STOCK == {"reverse": "asyncproxy.modules.reverse:Reverse", "status": "asyncproxy.modules.status:Status"}


@pytest.mark.parametrize("name", sorted(STOCK))
def test_every_stock_module_is_a_module(name):
    assert isinstance(find_module(name), type)


def test_an_unknown_short_name_is_told_the_stock_and_the_nearest():
    mend = 'stock modules are reverse, status, and yours is "package.file:Class"'
    assert problem("revers") == f"no stock module has this name; did you mean reverse? {mend}"
    assert problem("frobnicate") == f"no stock module has this name; {mend}"


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
