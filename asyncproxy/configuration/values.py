"""One value at a time: each function takes what TOML gave and returns what is stored.

It raises ValueError for anything else, with what was given and what to write; it never guesses. Which field is read by
which function is written at the field, in ``settings``.
"""

import os
import re
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote

from asyncproxy.exchange.error_pages import PAGE_NAME, ErrorPages, check_page
from asyncproxy.exchange.forwarded import TELLINGS
from asyncproxy.exchange.forwarding import HOP_BY_HOP
from asyncproxy.exchange.networks import UNIX, network
from asyncproxy.exchange.origin import Origin
from asyncproxy.exchange.routing import bare_host, normal_path
from asyncproxy.exchange.units import duration, size
from asyncproxy.settings import shown

ENDPOINT: Final = "tcp:8080:interface=127.0.0.1"
KEY_LENGTH: Final = 16
"""Characters that a key must have to be believed a secret."""

PAGE_LIMIT: Final = 1 << 20
"""Characters of an error's page."""
KEEP_ALIVE: Final = ("sse", "json", "102", "off")

_HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]+):[0-9]*")
_HOST_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_METHOD: Final = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_SPOKEN_FOR: Final = re.compile("|".join(("host", "content-.*", "date", "via", "server", *HOP_BY_HOP)))


def lasting(value: object) -> float:
    """Seconds, more than none."""
    if _is_off(value) or not (seconds := duration(value)):
        raise ValueError(f'{shown(value)}: this cannot be off; write for example "30s"')
    return seconds


def lasting_or_none(value: object) -> float | None:
    """Seconds, or None for ``"off"`` and 0."""
    return lasting_or_zero(value) or None


def lasting_or_zero(value: object) -> float:
    """Seconds, or 0.0 for ``"off"`` and 0."""
    return 0.0 if _is_off(value) else duration(value)


def some_bytes(value: object) -> int:
    """A size, more than nothing."""
    if _is_off(value) or not (count := size(value)):
        raise ValueError(f'{shown(value)} leaves no room at all; write for example "64KiB"')
    return count


def bytes_or_zero(value: object) -> int:
    """A size, or 0 for ``"off"`` and 0."""
    return 0 if _is_off(value) else size(value)


def rate(value: object) -> int:
    """Bytes a second, or 0 for ``"off"`` and 0."""
    return bytes_or_zero(value)


def count_or_none(value: object) -> int | None:
    """A count, or None for ``"off"``."""
    if value == "off":
        return None
    if type(value) is not int or value < 1:
        raise ValueError(f'{shown(value)} is no count; write 1 or more, or "off"')
    return value


def endpoints(value: object) -> tuple[str, ...]:
    """Twisted endpoint strings, one or more."""
    return tuple(endpoint(one) for one in _some(value, f'"{ENDPOINT}"'))


def endpoint(value: object) -> str:
    """A Twisted endpoint string. Twisted knows the kinds, which plugins add to; the usual mistakes are caught here."""
    kind, fields, named = endpoint_parts(value) if isinstance(value, str) and "://" not in value else ("", [], {})
    if not re.fullmatch(r"[a-z][a-z0-9_+-]*", kind) or kind == "localhost" or not (fields or named):
        raise ValueError(f'{shown(value)} is not a Twisted endpoint; write for example "{ENDPOINT}"')
    port = named.get("port", fields[0] if fields else "")
    if kind == "tcp" and not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        raise ValueError(f'"{value}" has no good port; write for example "{ENDPOINT}"')
    return str(value)


def endpoint_parts(text: str) -> tuple[str, list[str], dict[str, str]]:
    r"""Kind, positional and named fields of ``kind:field:name=value``; ``\:`` is a colon in a value."""
    kind, *rest = re.findall(r"(?:\\.|[^\\:])+", text) or [""]
    pairs = [re.fullmatch(r"(?:([a-zA-Z]+)=)?(.*)", field, re.DOTALL) for field in rest]
    fields = [(pair[1], re.sub(r"\\(.)", r"\1", pair[2])) for pair in pairs if pair]
    return kind, [value for name, value in fields if not name], {name: value for name, value in fields if name}


def servers(value: object) -> tuple[Origin, ...]:
    """Addresses of servers, one or more."""
    return tuple(Origin.parse(one) for one in _some(value, '"http://127.0.0.1:9000"'))


def path(value: object) -> str:
    """A path that requests can have; one that ``normal_path`` never gives would be a route that never matches."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f'{shown(value)} must begin with "/"')
    if re.search(r"[?#]", value):
        raise ValueError(f'"{value}" has a query or fragment, which routes do not look at; write the path alone')
    if re.search(r"%[0-9A-Fa-f]{2}", value):
        raise ValueError(f'"{value}" never matches: paths are compared decoded; write "{_normal(value)}"')
    if "\ufffd" in value or _normal(quote(value)) != value:
        raise ValueError(f'"{value}" never matches: paths are compared in normal form; write "{_normal(quote(value))}"')
    return value


def host(value: object) -> str:
    """A host name, ``*.`` and a name, or an IPv6 address, in the spelling of ``bare_host``."""
    text = value.lower() if isinstance(value, str) else ""
    if _HOST_AND_PORT.fullmatch(text):
        raise ValueError(f'"{value}" has a port, and hosts are compared without; write "{bare_host(text)}"')
    if not _HOST_NAME.fullmatch(text) and not _is_ipv6(text):
        raise ValueError(f'{shown(value)} is not a host; write for example "example.com" or "*.example.com"')
    return bare_host(text)


def authorities(value: object) -> tuple[str, ...]:
    """What clients may write into Host, in lower case: names or addresses, with the port unless that is 80 or 443."""
    return tuple(map(_authority, _one_or_many(value)))


def methods(value: object) -> tuple[str, ...]:
    """Methods, one or more, in upper case."""
    names = [one.upper() if isinstance(one, str) else "" for one in _some(value, '"GET"')]
    if not all(map(_METHOD.fullmatch, names)):
        raise ValueError(f'{shown(value)}: not all of it are methods; write for example ["GET", "POST"]')
    return tuple(dict.fromkeys(names))


def access_log_format(value: object) -> str:
    """How a line of the access log looks."""
    if value not in ("combined", "json"):
        raise ValueError(f'{shown(value)} is neither "combined" nor "json"; write one of them')
    return str(value)


def keep_alive(value: object) -> str:
    """What a client gets while it waits."""
    text = "102" if type(value) is int and value == 102 else "off" if _is_off(value) else value
    if text not in KEEP_ALIVE:
        near = get_close_matches(str(value).lower(), KEEP_ALIVE, n=1)
        mend = f'did you mean "{near[0]}"?' if near else 'write "sse", "json", "102" or "off"'
        often = "; how often is keep_alive_every" if _is_duration(value) else ""
        raise ValueError(f"{shown(value)} is nothing that keeps a waiting client; {mend}{often}")
    return str(text)


def field_name_or_none(value: object) -> str | None:
    """The name of a header field that says nothing about framing or routing, or None for "off"."""
    if value == "off":
        return None
    text = value if isinstance(value, str) else ""
    if not _FIELD_NAME.fullmatch(text) or _SPOKEN_FOR.fullmatch(text.lower()):
        raise ValueError(f'{shown(value)} cannot carry an id; write for example "X-Request-ID", or "off"')
    return text


def error_pages(value: object) -> ErrorPages:
    """The pages in a directory."""
    if not isinstance(value, str) or not value:
        raise ValueError(f'{shown(value)} is no directory; write for example "/etc/asyncproxy/errors"')
    try:
        files = sorted(os.scandir(value), key=lambda file: file.name)
        pages = {file.name: _page(file.path) for file in files if _is_page(file.name)}
    except FileNotFoundError:
        raise ValueError(
            f'there is no directory "{value}"; looked in {os.getcwd()}: make it, or mend its name'
        ) from None
    except OSError as error:
        raise ValueError(f'"{value}" cannot be read: {error.strerror}; it has to be a directory of pages') from None
    if not pages:
        raise ValueError(f'"{value}" has no pages; call them for example 502.html, 5xx.html or 5xx.json')
    for name, text in pages.items():
        check_page(name, text)
    return ErrorPages(pages)


def _is_page(name: str) -> bool:
    if name[:1].isdigit() and name.endswith((".html", ".json", ".txt")) and not PAGE_NAME.fullmatch(name):
        raise ValueError(f'"{name}" is no page for an error; call it for example 502.html, or 5xx.html')
    return PAGE_NAME.fullmatch(name) is not None


def _page(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(PAGE_LIMIT + 1)
    except UnicodeDecodeError as error:
        raise ValueError(f'"{path}" is not UTF-8 at byte {error.start}') from None
    if len(text) > PAGE_LIMIT:
        raise ValueError(f'"{path}" is longer than {PAGE_LIMIT} characters; pages are kept in memory')
    return text


def product_or_none(value: object) -> str | None:
    """What a Server field says (RFC 9110 section 10.2.4); ``"off"`` is None."""
    if _is_off(value):
        return None
    text = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", text):
        raise ValueError(f'{shown(value)} cannot be told as Server: write "name/1.0" in ASCII, or "off"')
    return text


def pseudonym_or_none(value: object) -> str | None:
    """A name in a Via field: a token, or a host, with a port or without (RFC 9110 section 7.6.3); ``"off"`` is None."""
    if _is_off(value):
        return None
    text = str(value)
    if not isinstance(value, str) or not re.fullmatch(
        r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?", text
    ):
        raise ValueError(f'{shown(value)} is no name for Via: write a host or a word such as "asyncproxy", or "off"')
    return text


def networks(value: object) -> tuple[str, ...]:
    """Addresses, networks in CIDR, ``unix``; as many as there are."""
    given = _one_or_many(value)
    for one in given:
        if one != UNIX:
            network(one)
    return tuple(map(str, given))


def forwarded(value: object) -> str:
    """Which fields tell upstreams of a client."""
    text = "off" if _is_off(value) else value
    if text not in TELLINGS:
        near = get_close_matches(str(value).lower(), TELLINGS, n=1)
        mend = f'did you mean "{near[0]}"?' if near else 'write "both", "x-forwarded", "rfc7239" or "off"'
        raise ValueError(f"{shown(value)} tells upstreams nothing; {mend}")
    return str(text)


def token(value: object) -> str:
    """A secret that a header can carry. It is not shown, not even a bad one."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        raise ValueError("must be text of visible ASCII characters without spaces, and not empty")
    return value


def keys(value: object) -> tuple[str, ...]:
    """Secrets that sign, one or several. They are not shown, not even bad ones."""
    given = _one_or_many(value)
    if not all(isinstance(key, str) and len(key) >= KEY_LENGTH for key in given):
        raise ValueError(f"must be texts of {KEY_LENGTH} characters or more that nobody can guess")
    return tuple(map(str, given))


def base_url(value: object) -> str:
    """The scheme and authority that URLs begin with, without a path."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^/?#\s@]+/?", value):
        raise ValueError(f'{shown(value)} is not the beginning of a URL; write for example "https://proxy.example"')
    return value.rstrip("/")


def module_name(value: object) -> str:
    """The name of a module; who has it is ``discovery``'s to find out."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'{shown(value)} is not a module; write for example "reverse" or "package.file:Class"')
    return value.strip()


def module_names(value: object) -> tuple[str, ...]:
    """Names of modules, as many as there are."""
    return tuple(module_name(one) for one in _one_or_many(value))


def _is_duration(value: object) -> bool:
    try:
        return bool(duration(value))
    except ValueError:
        return False


def _authority(value: object) -> str:
    text = value.lower() if isinstance(value, str) else ""
    with_port = _HOST_AND_PORT.fullmatch(text)
    name = with_port[1] if with_port else text
    if "*" in name or not (_HOST_NAME.fullmatch(name) or _is_ipv6(name)):
        raise ValueError(f'{shown(value)} is not a host; write for example "proxy.example:8081"')
    return text


def _is_off(value: object) -> bool:
    return value in ("off", "0") or (value == 0 and not isinstance(value, bool))


def _one_or_many(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _some(value: object, example: str) -> list[object]:
    values = _one_or_many(value)
    if not values:
        raise ValueError(f"is empty; write at least one, for example {example}")
    return values


def _normal(text: str) -> str:
    try:
        return normal_path(text.encode())
    except ValueError:
        return "/"


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text[1:-1] if text.startswith("[") and text.endswith("]") else text))
    except AddressValueError:
        return False
