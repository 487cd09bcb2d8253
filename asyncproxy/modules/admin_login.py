"""The way in for people: a browser cannot send a bearer token by itself, so a form takes it and a cookie stands for it.

The rule: the cookie is not the token, and nothing can be made of it elsewhere. It is a keyed hash of the token and of
when it ends, with a key of this process; a script cannot read it, and a browser sends it from our own pages alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from asyncproxy import Request, Response

LASTING: Final = 12 * 3600
"""Seconds after which the token is asked for again."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5b6575; --paper: #f5f6f8; --card: #fff; --line: #8b95a5;
  --accent: #1f6f5c; --on: #fff; --bad: #a32020 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #97a2b2; --paper: #12161c; --card: #1b2129;
  --line: #6a7686; --accent: #5cc3a8; --on: #0c1512; --bad: #ff9b93 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
form { width: 100%; max-width: 22rem; background: var(--card); border-radius: .75rem; padding: 1.5rem;
  display: grid; gap: .75rem; box-shadow: 0 1px 3px #0003 }
h1 { font-size: 1.4rem; margin: 0 }
p { margin: 0; color: var(--dim) }
.bad { color: var(--bad) }
label { font-weight: 600 }
input, button { font: inherit; padding: .5rem .7rem; border-radius: .4rem; width: 100% }
input { border: 1px solid var(--line); background: var(--paper); color: inherit }
button { border: 0; background: var(--accent); color: var(--on); font-weight: 600; cursor: pointer }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_FIELDS: Final = (
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "same-origin"),  # without a referrer browsers say "Origin: null" of their own forms
    ("x-content-type-options", "nosniff"),
)


class Sessions:
    """Who has shown the token, and for how long that counts. `now` is the time in seconds since the epoch."""

    def __init__(self, token: str, now: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._key = secrets.token_bytes(32)
        self._now = now

    def allowed(self, request: Request) -> bool:
        """Whether `request` carries the token, or a cookie that was given for it."""
        said = request.headers.get("authorization")
        if said is not None:
            return hmac.compare_digest(said.encode(), b"Bearer " + self._token)
        return self._counts(request.cookies.get(_cookie_name(request), ""))

    def enter(self, request: Request, form: bytes) -> Response:
        """What a posted `form` gets: a cookie and the page, or the form again."""
        given = parse_qs(form.decode("latin-1")).get("token", [""])[-1].strip()
        if not hmac.compare_digest(given.encode(), self._token):
            return login_page("That is not the token.")
        ends = int(self._now()) + LASTING
        secure = "; Secure" if request.scheme == "https" else ""
        cookie = f"{_cookie_name(request)}={ends}.{self._mac(ends)}; Path=/; Max-Age={LASTING}; HttpOnly"
        fields = [("set-cookie", f"{cookie}; SameSite=Strict{secure}"), ("location", "/status"), *_FIELDS]
        return Response(303, fields)

    def _counts(self, cookie: str) -> bool:
        ends, _, mac = cookie.partition(".")
        if not (ends.isascii() and ends.isdecimal() and len(ends) < 16):
            return False
        return hmac.compare_digest(mac.encode(), self._mac(int(ends)).encode()) and self._now() < int(ends)

    def _mac(self, ends: int) -> str:
        return hmac.new(self._key, b"%d.%b" % (ends, self._token), hashlib.sha256).hexdigest()


def login_page(words: str = "") -> Response:
    """The form, as an answer to whoever may not see more (401)."""
    said = f'<p class="bad" role="alert">{words}</p>' if words else ""
    return Response.html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>asyncproxy: log in</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_STYLE}</style></head><body><form method="post" action="/login"><h1>asyncproxy</h1>'
        "<p>This proxy wants its token: <code>token</code> of <code>[admin]</code> in its configuration.</p>"
        f'{said}<label for="token">Token</label><input id="token" name="token" type="password" required autofocus '
        'autocomplete="current-password" spellcheck="false"><button>Log in</button></form></body></html>\n',
        status=401,
        headers=[("www-authenticate", "Bearer"), *_FIELDS],
    )


def _cookie_name(request: Request) -> str:
    """By the port: cookies of one host go to all of its ports, and another proxy may be at one of them."""
    port = (request.headers.get("host") or "").rpartition(":")[2]
    return f"asyncproxy_{port}" if port.isascii() and port.isdecimal() else "asyncproxy"
