"""The configuration's reference, made of the settings' own types: it cannot say what the proxy does not read.

The rule: every key has a description, the text below its field, and every type has words; a key or type without is a
warning, and so ends the build. What a key takes is told by the function that reads it, or else by its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from docutils import nodes
from docutils.statemachine import StringList
from msgspec import inspect as kinds
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from asyncproxy.configuration import settings, values
from asyncproxy.configuration.description import said
from asyncproxy.configuration.settings import Table
from asyncproxy.service.command import Options
from asyncproxy.settings import reader

READ_BY: Final[Mapping[Callable[..., Any], str]] = {
    values.lasting: 'a duration, such as `"30s"`',
    values.lasting_or_none: 'a duration, such as `"30s"`, or `"off"`',
    values.lasting_or_zero: 'a duration, such as `"30s"`, or `"off"`',
    values.some_bytes: 'a size, such as `"64KiB"`',
    values.bytes_or_zero: 'a size, such as `"64KiB"`, or `"off"`',
    values.rate: 'a size for each second, such as `"500B"`, or `"off"`',
    values.count_or_none: 'a whole number, 1 or more, or `"off"`',
    values.endpoint: f'a Twisted endpoint, such as `"{values.ENDPOINT}"`',
    values.endpoints: f'a Twisted endpoint, such as `"{values.ENDPOINT}"`, or a list of them',
    values.servers: 'a URL without a path, such as `"http://127.0.0.1:9000"` or `"unix:/run/app.sock"`, or a list',
    values.access_log_format: '`"combined"` or `"json"`',
    values.error_pages: "the path of a directory",
    values.networks: 'an address, a network such as `"10.0.0.0/8"`, or `"unix"`; or a list of them',
    values.forwarded: '`"both"`, `"x-forwarded"`, `"rfc7239"` or `"off"`',
    values.keep_alive: '`"sse"`, `"json"`, `"102"` or `"off"`',
    values.field_name_or_none: 'the name of a header field, or `"off"`',
    values.product_or_none: 'a name, such as `"shop/2.0"`, or `"off"`',
    values.pseudonym_or_none: 'a word or a host, with a port or without, or `"off"`',
    values.keys: f"a text of {values.KEY_LENGTH} characters or more, or a list of them",
    values.base_url: 'the beginning of a URL, such as `"https://proxy.example"`',
    values.token: "text of visible ASCII characters",
    values.path: 'text that begins with `"/"`, without `%` escapes',
    values.host: 'a host name, such as `"example.com"` or `"*.example.com"`, without a port',
    values.authorities: 'a name and port, such as `"proxy.example:8081"`, or a list of them',
    values.methods: 'a method, or a list, such as `["GET", "POST"]`',
    values.module_name: 'a name, or `"package.file:Class"`',
    values.module_names: "a list of names",
}
"""What a key takes, by the function that reads it."""
OFF_IS_NONE: Final = (values.lasting_or_none, values.count_or_none)


class Undescribed(Exception):
    """A key without a description, or a type without words."""


class Row(NamedTuple):
    """A key as the reference tells it."""

    key: str
    takes: str
    default: str | None
    """As one would write it; None for a key that must be given."""
    meaning: str


def rows(table: type[Table]) -> Iterator[Row]:
    """The keys of `table`, in order. Raises `Undescribed`."""
    texts = ModuleAnalyzer.for_module(table.__module__).find_attr_docs()
    for field in msgspec.structs.fields(table):
        text = " ".join(texts.get((table.__name__, field.name), ())).strip()
        if not text:
            raise Undescribed(
                f"{table.__name__}.{field.name} has no description: write one below the field, in {table.__module__}"
            )
        yield Row(field.name, takes(field.type), None if field.required else _default(field), text)


def takes(kind: Any) -> str:
    """What may be written for a key of type `kind`, in words. Raises `Undescribed`."""
    read = reader(kind)
    if read is None:
        return _words(kinds.type_info(kind))
    if read not in READ_BY:
        raise Undescribed(f"values.{read.__name__} has no words: add them to READ_BY in {__name__}")
    return READ_BY[read]


def _words(kind: kinds.Type) -> str:
    match kind:
        case kinds.BoolType():
            return "`true` or `false`"
        case kinds.IntType(ge=least):
            return "a whole number" if least is None else f"a whole number, {least} or more"
        case kinds.StrType():
            return "text"
        case kinds.DictType() | kinds.StructType():
            return "a table"
        case kinds.CollectionType(item_type=kinds.StructType()):
            return "tables"
        case kinds.LiteralType(values=choices):
            return " or ".join(f'`"{choice}"`' for choice in choices)
        case kinds.UnionType(types=types):
            return " or ".join(_words(one) for one in types if not isinstance(one, kinds.NoneType))
    raise Undescribed(f"{kind} has no words: add them to {__name__}")


def _default(field: Any) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, Table):
        return "the defaults below"
    if value in ((), {}) or (value is None and reader(field.type) not in OFF_IS_NONE):
        return "none"
    text = said(field.type, value)
    return f"`{text}`" if isinstance(value, (int, bool)) and text == str(value) else f'`"{text}"`'


def options() -> Iterator[tuple[str, str]]:
    """Each option of ``twistd asyncproxy`` and what it does, but for those that twistd has for every command."""
    made = Options()
    for names, metavar, text in _declared(made):
        yield ", ".join(names) + metavar, text


def _declared(made: Options) -> Iterator[tuple[list[str], str, str]]:
    yield ["--listen", "-l"], " ENDPOINT", " ".join((made.opt_listen.__doc__ or "").split())
    for name, short, default, text in made.optParameters:
        yield [f"--{name}", f"-{short}"], f" {'FILE' if name == 'config' else name.upper()}", text
        assert default is None, f"--{name} has a default: the reference has to say it"
    for name, short, text in made.optFlags:
        yield [f"--{name}", *([f"-{short}"] if short else [])], "", text


class ConfigurationTable(SphinxDirective):
    """``{configuration-table} Server``: the keys of one table."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """The definition list."""
        table = getattr(settings, self.arguments[0])
        self.env.note_dependency(settings.__file__)
        return parsed(self, [line for row in rows(table) for line in described(row)])


class CommandOptions(SphinxDirective):
    """``{command-options}``: the command line's options."""

    def run(self) -> list[nodes.Node]:
        """The definition list."""
        return parsed(self, [line for name, text in options() for line in (f"`{name}`", f": {text}", "")])


def described(row: Row) -> list[str]:
    """A key as lines of Markdown."""
    default = "must be given" if row.default is None else f"by default {row.default}"
    return [f"`{row.key}`", f": {row.takes}; *{default}*", "", f"  {row.meaning}", ""]


def parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Markdown as nodes."""
    parent = nodes.container()
    directive.state.nested_parse(StringList(lines, directive.env.docname), directive.content_offset, parent)
    return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("configuration-table", ConfigurationTable)
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
