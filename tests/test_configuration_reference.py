"""The reference of the configuration says every key, and what the proxy reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import pytest

from asyncproxy.configuration import settings, values
from asyncproxy.configuration.settings import Table
from asyncproxy.settings import read_by

DOCS = Path(__file__).parents[1] / "docs"
TABLES = [kind for kind in vars(settings).values() if isinstance(kind, type) and issubclass(kind, Table)]


class Undescribed(Table, frozen=True):
    key: int = 1


@pytest.fixture(scope="module", autouse=True)
def reference() -> Any:
    sys.path.insert(0, str(DOCS / "extensions"))
    try:
        import configuration_reference
    finally:
        sys.path.remove(str(DOCS / "extensions"))
    return configuration_reference


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_is_described_and_its_type_has_words(reference: Any, table: type[Table]) -> None:
    assert [row.key for row in reference.rows(table)] == list(table.__struct_fields__)
    assert all(row.meaning.endswith(".") for row in reference.rows(table))


def test_every_table_is_on_the_page() -> None:
    page = (DOCS / "configuration.md").read_text()
    missing = [table.__name__ for table in TABLES if f"{{configuration-table}} {table.__name__}\n" not in page]
    assert missing == ["Table"]


def test_a_key_without_a_description_is_refused(reference: Any) -> None:
    with pytest.raises(reference.Undescribed, match=r"Undescribed\.key has no description: write one below the field"):
        list(reference.rows(Undescribed))


def test_a_reader_without_words_is_refused(reference: Any) -> None:
    with pytest.raises(reference.Undescribed, match=r"values\.normal_path has no words"):
        reference.takes(Annotated[str, read_by(values.normal_path)])


def test_keys_are_told_as_one_would_write_them(reference: Any) -> None:
    told = {row.key: row for row in reference.rows(settings.Upstream)}
    assert told["servers"].default is None
    assert told["connect_timeout"].default == '`"5s"`'
    assert told["total_timeout"].default == '`"off"`'
    limits = {row.key: row for row in reference.rows(settings.Limits)}
    assert [limits[key].default for key in ("connections", "connections_per_client")] == ["`20000`", '`"off"`']
    assert [limits[key].default for key in ("body_rate", "send_rate")] == ['`"500B"`', '`"off"`']
    assert (told["max_idle"].takes, told["max_idle"].default) == ("a whole number, 0 or more", "`128`")


def test_every_option_of_the_command_is_told(reference: Any) -> None:
    from asyncproxy.service import Options

    told = " ".join(names for names, _ in reference.options())
    ours = set(Options().longOpt) - {"version", "help"}
    assert {f"--{name.rstrip('=')}" for name in ours} <= set(told.replace(",", "").split())
    assert all(text for _, text in reference.options())
