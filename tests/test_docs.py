"""Every code block of the documentation does what its page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import asyncproxy.testing
from asyncproxy.exchange.record import json_lines
from asyncproxy.testing import Lab
from tests.documentation.blocks import Block, blocks
from tests.documentation.reader import Reader
from tests.records import told

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FAKES = {
    "Clock", "Descriptors", "FakeClient", "FakeUpstream", "House", "LabReactor", "LeftBehind", "MemoryNetwork", "Names",
    "PollingRound", "SteppedWorkers", "Wire",
}  # fmt: skip
"""What is below a lab: told where it is, in the code."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_the_page_is_true(page: Path, reader: Reader) -> None:
    if page.name == "README.md":
        reader.read_in_the_repository()
    for block in blocks(page):
        try:
            reader.read(block)
        except BaseException as why:
            why.add_note(f"in the block at {block.place}")
            raise


@pytest.mark.parametrize("package", [asyncproxy, asyncproxy.testing], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package: ModuleType) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert {name for name in package.__all__ if not re.search(rf":: (asyncproxy\.(\w+\.)?)?{name}\b", page)} <= FAKES


def test_every_key_of_the_access_log_and_every_metric_is_told() -> None:
    page = (ROOT / "docs" / "seeing.md").read_text()
    figures = Lab({"route": [{"module": "status"}]}).metrics().decode()
    names = re.findall(r"^# TYPE asyncproxy_(\w+)", figures, re.MULTILINE)
    assert len(names) > 10
    assert [name for name in (*json.loads(json_lines([told()])), *names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("language", "text", "why"),
    [
        ("", "whatever", "no way to check a block without a language"),
        ("perl", "print 1;", "no way to check perl"),
        ("python", "1 / 0", "division by zero"),
        ("python", "# hello.py\nimport nothing_of_that_name", "nothing_of_that_name"),
        ("toml", '[server]\nwrokers = 5\nlisten = "tcp:8080"', "wrokers: unknown key"),
        ("toml", '[[route]]\nmodule = "no.such:Module"', "there is no no.py"),
        ("console", "$ python -c 'raise SystemExit(3)'", "ends with 3"),
        ("console", "$ python -c 'print(1)'\none", "it prints"),
        ("console", "$ rm nothing-of-that-name", "ends with 1"),
        ("console", "$ pip install asyncproxy[everything]", "extras are"),
        ("console", "$ make everything", "targets are"),
        ("console", "$ twistd asyncproxy --configuration proxy.toml", "not recognized"),
        ("console", "$ curl http://127.0.0.1:8080/", "ends with 7"),
        ("text", "400 errors", "no command before it"),
        ("json", "{}", "no command before it"),
        ("ini", "[Unit]", "which file it is"),
    ],
)
def test_a_block_that_is_not_true_is_found(language: str, text: str, why: str, reader: Reader) -> None:
    with pytest.raises((Exception, SystemExit), match=why):
        reader.read(Block(Path("page.md"), 7, language, text + "\n"))


def test_a_block_is_a_file_if_its_first_line_is_a_file_s_name() -> None:
    def file(text: str) -> str | None:
        return Block(Path("page.md"), 7, "python", text).file

    assert file("# hello.py\nimport sys\n") == "hello.py"
    assert file("# /etc/systemd/system/asyncproxy.service\n[Unit]\n") == "/etc/systemd/system/asyncproxy.service"
    assert file("# wait.\nimport sys\n") is None
    assert file("# what hello.py does\n") is None


def test_a_block_that_is_indented_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("words\n\n    code = 1\n")
    with pytest.raises(AssertionError, match=r"page\.md:3: an indented block"):
        blocks(page)


def test_the_page_of_the_architecture_names_every_room() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = [
        room for room in (ROOT / "asyncproxy").iterdir() if room.suffix == ".py" or (room / "__init__.py").exists()
    ]
    names = {f"`{room.name}`" if room.suffix else f"`{room.name}/`" for room in rooms} - {"`__init__.py`"}
    assert {name for name in names if name not in page} == set()
