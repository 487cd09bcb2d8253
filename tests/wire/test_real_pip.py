"""pip, which installs from an index behind the proxy."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.origin import content
from tests.wire.peers import Call, Upstream
from tests.wire.proxies import Proxy

DATA = content(1_000_000)


def configuration(peers: Peers) -> str:
    return f'[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n'


def wheel(name: str, *needed: str) -> bytes:
    """A package with one module, and a file that is large."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + "".join(
        f"Requires-Dist: {one}\n" for one in needed
    )
    files = {
        f"{name}/__init__.py": b"here = True\n",
        f"{name}/data": DATA,
        f"{name}-1.0.dist-info/METADATA": about.encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{name}-1.0.dist-info/RECORD"))
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in {**files, f"{name}-1.0.dist-info/RECORD": record.encode()}.items():
            archive.writestr(path, data)
    return packed.getvalue()


WHEELS = {"first": wheel("first", "second"), "second": wheel("second")}


def index(call: Call) -> None:
    """An index as PEP 503 has it; its files may be had in part."""
    kind, name, *_ = [*call.target.strip("/").split("/"), ""]
    if kind == "simple":
        digest = hashlib.sha256(WHEELS[name]).hexdigest()
        link = f'<!doctype html><a href="../../files/{name}-1.0-py3-none-any.whl#sha256={digest}">{name}</a>'
        call.answer(b"" if call.method == "HEAD" else link.encode(), "200 OK", "Content-Type: text/html")
        return
    data = WHEELS[name.partition("-")[0]]
    if (wanted := call.get("range")) is None:
        length = f"Content-Length: {len(data)}\r\nAccept-Ranges: bytes\r\n\r\n"
        call.send(f"HTTP/1.1 200 OK\r\n{length}".encode(), b"" if call.method == "HEAD" else data)
    else:
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        told = f"Content-Range: bytes {first}-{last}/{len(data)}"
        call.answer(data[first : last + 1], "206 Partial Content", told)


@pytest.mark.parametrize("options", [(), ("--use-feature=fast-deps",)], ids=["whole", "in ranges"])
def test_pip_installs_a_package_and_what_it_needs(
    proxy: Proxy, upstream: Upstream, tmp_path: Path, options: tuple[str, ...]
) -> None:
    upstream.script = index
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        (
            sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--no-cache-dir",
            *options, "--index-url", f"http://127.0.0.1:{proxy.port}/simple", "--target", "there", "first",
        ),
        env={**environment, "PIP_CONFIG_FILE": os.devnull}, cwd=tmp_path, text=True, timeout=50,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for name in WHEELS:
        assert (tmp_path / "there" / name / "data").read_bytes() == DATA
    assert any(call.get("range") for call in upstream.calls) == bool(options)
