"""What a field may look like, in heads and in trailers (RFC 9110 sections 5.1, 5.5 and 5.6.2; RFC 9112 section 5).

The rule: the grammar of those who send, and nothing that those who receive may forgive: no folded line, no bare CR or
LF, no white space before a colon.
"""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELD: Final = TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+"
"""A field without its line's end."""
_IS_FIELD: Final = re.compile(FIELD)
_IS_NAME: Final = re.compile(TOKEN)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FIELDS: Final = re.compile(rb"(?:\r\n%b)*+\r\n\r\n" % FIELD)
_BEGUN: Final = re.compile(rb"(?:\r\n%b)*+(?:\r(?:\n(?:%b(?::[\t\x20-\x7e\x80-\xff]*)?)?\r?)?)?" % (FIELD, TOKEN))


def are_fields(head: bytes, at: int) -> bool:
    """Whether `head` is, from the CRLF at `at` on, fields with theirs and an empty line."""
    return _FIELDS.fullmatch(head, at) is not None


def may_become_fields(head: bytes, at: int) -> bool:
    """Whether `head`, from the CRLF at `at` on, may be the beginning of such fields."""
    return _BEGUN.fullmatch(head, at) is not None


def is_field(line: bytes) -> bool:
    """Whether `line`, without its end, is a field."""
    return _IS_FIELD.fullmatch(line) is not None


def fault_of(line: bytes) -> str:
    """What is wrong with a line that is no field."""
    name, colon, _ = line.partition(b":")
    if b"\r" in line or b"\n" in line:
        return "a bare CR or LF"
    if line[:1] in (b" ", b"\t"):
        return "a folded line"
    if not colon:
        return "a line without a colon"
    if name.rstrip(b" \t") != name:
        return "white space before a colon"
    if _IS_NAME.fullmatch(name) is None:
        return "a field's name that is no token"
    return "a control character" if _CONTROL.search(line) else "a line that is no field"


def fault_of_fields(block: bytes) -> str:
    """What is wrong with the first line of `block`, fields with their CRLF before them, that is no field."""
    for line in block.split(b"\r\n")[1:]:
        if not is_field(line):
            return fault_of(line)
    return "a line that is no field"
