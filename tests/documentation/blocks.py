"""The code blocks of a page, as Markdown has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

_FILE = re.compile(r"# ((?:/?[\w.-]+/)*[\w-]+(?:\.[\w-]+)*)\n")


class Block(NamedTuple):
    """A fenced block; `line` is the file's, of its first line of text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, if its first line is a comment of nothing but a file's name."""
        found = _FILE.match(self.text)
        return found[1] if found and ("." in found[1] or "/" in found[1]) else None

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of `page`, in order, but for directives, which Sphinx checks."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "code_block":
            raise AssertionError(
                f"{page.name}:{(token.map or [0])[0] + 1}: an indented block; fence it, with a language"
            )
        if token.type == "fence" and not token.info.startswith("{"):
            found.append(Block(page, (token.map or [0])[0] + 2, token.info.strip(), token.content))
    return found
