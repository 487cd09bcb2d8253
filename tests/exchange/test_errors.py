from __future__ import annotations

import pytest

from asyncproxy.exchange import errors
from asyncproxy.exchange.errors import ParkTimeout, UpstreamError, error_text, reason_phrase, status_and_words


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (errors.ClientError(431, "too long"), 431, "too long"),
        (errors.ClientGone(), 499, "the client closed its connection"),
        (errors.ParkTimeout(), 504, "what the request waited for did not come in time"),
        (errors.Overloaded("full"), 503, "full"),
        (errors.ModuleError("secret.py:5"), 500, ""),
        (UpstreamError("refused", "no", "http://10.0.0.1"), 502, "no (refused)"),
        (UpstreamError("full", "no"), 503, "no (full)"),
        (UpstreamError("timeout:idle", "no"), 504, "no (timeout:idle)"),
        (ValueError("secret"), 500, ""),
        (KeyboardInterrupt(), 500, ""),
    ],
)
def test_each_error_has_a_status_and_words_that_tell_no_secret(error: BaseException, status: int, words: str) -> None:
    assert status_and_words(error) == (status, words)


def test_what_is_said_aside_is_the_log_s_alone() -> None:
    for error in (UpstreamError("bad", "no", "http://10.0.0.1", "secret"), ParkTimeout("no", aside="secret")):
        assert "secret" not in status_and_words(error)[1]
    assert str(UpstreamError("bad", "no", "http://10.0.0.1", "secret")) == "no: secret (bad, http://10.0.0.1)"
    assert str(ParkTimeout("no", aside="secret")) == "no: secret"


def test_the_log_hears_which_server_it_was() -> None:
    assert str(UpstreamError("refused", "no", "http://10.0.0.1")) == "no (refused, http://10.0.0.1)"
    assert str(UpstreamError("refused", "no")) == "no (refused)"


def test_the_text_of_an_error() -> None:
    assert error_text(503, "full", "a-1") == b"503 Service Unavailable: full\nrequest a-1\n"
    assert error_text(500, "", "a-1") == b"500 Internal Server Error\nrequest a-1\n"
    assert error_text(400, "", "") == b"400 Bad Request\n"
    assert reason_phrase(599) == ""
