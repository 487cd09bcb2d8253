from __future__ import annotations

from pathlib import Path

import pytest

from asyncproxy.exchange import errors, flags
from asyncproxy.exchange.errors import (
    ClientError,
    ClientGone,
    Draining,
    ModuleError,
    Overloaded,
    ParkTimeout,
    TunnelIdle,
    UpstreamError,
)
from asyncproxy.exchange.flags import MEANINGS, TABLE, flag_of


@pytest.mark.parametrize(
    ("error", "flag"),
    [
        (None, ""),
        (ClientGone(), "DC"),
        (Draining(), "DR"),
        (ParkTimeout(), "DT"),
        (Overloaded("full"), "OM"),
        (UpstreamError("refused", ""), "UF"),
        (UpstreamError("timeout:connect", ""), "UF"),
        (UpstreamError("unresolved", ""), "DF"),
        (UpstreamError("full", ""), "UO"),
        (UpstreamError("reset", ""), "UC"),
        (UpstreamError("bad", ""), "UPE"),
        (UpstreamError("timeout:first-byte", ""), "UT"),
        (UpstreamError("timeout:idle", ""), "UT"),
        (UpstreamError("timeout:total", ""), "UT"),
        (ClientError(404, ""), "NR"),
        (ClientError(405, ""), "NR"),
        (ClientError(400, ""), "DPE"),
        (ClientError(413, ""), "DPE"),
        (TunnelIdle(""), "SI"),
        (ModuleError(""), "MC"),
        (KeyError("x"), "ME"),
        (SystemExit(), "ME"),
    ],
)
def test_each_error_has_its_flag(error: BaseException | None, flag: str) -> None:
    assert flag_of(error) == flag


def test_every_error_of_ours_has_a_row_of_its_own() -> None:
    ours = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert ours - {"ProxyError"} <= {flag.error for flag in TABLE}


def test_each_flag_means_one_thing() -> None:
    assert len(MEANINGS) == len(flags.TABLE)
    assert all(2 <= len(code) <= 3 and code.isupper() for code in MEANINGS)


def test_the_documentation_has_each_flag_with_its_meaning() -> None:
    page = Path(__file__).parents[2] / "docs" / "seeing.md"
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| `") and line.count("|") == 3]
    assert [row for row in rows if row[3:5].isupper()] == [f"| `{flag.code}` | {flag.meaning} |" for flag in TABLE]
