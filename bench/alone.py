"""asyncproxy alone before the benchmark's upstream, for what is measured of no other proxy: draining and reloading."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

CONFIG = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
drain = "10s"

[upstream.bench]
servers = ["http://127.0.0.1:{upstream_port}"]
max_idle = {idle}

[[route]]
module = "reverse"
upstream = "bench"

[[route]]
path = "/slow"
module = "bench.modules:ForwardOnce"
upstream = "bench"

[[route]]
path = "/changing/"
module = "reverse"
upstream = "bench"
settings = {{ strip_prefix = {strip} }}
"""


def configuration(port: int, upstream_port: int, number: int) -> str:
    """Its file; of two numbers in a row a group of servers and a module's settings differ."""
    odd = bool(number % 2)
    return CONFIG.format(port=port, upstream_port=upstream_port, idle=100 + odd, strip=str(odd).lower())


@dataclass
class Alone:
    """A proxy that runs, and its file."""

    child: Child
    config: Path
    upstream_port: int

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.child.port

    def configure(self, number: int) -> None:
        """Write its file anew, see `configuration`."""
        self.config.write_text(configuration(self.port, self.upstream_port, number))

    def said(self, words: str) -> int:
        """How many times its log says `words`."""
        assert self.child.log is not None
        return self.child.log.read_text(errors="replace").count(words)


@contextlib.contextmanager
def alone() -> Iterator[Alone]:
    """Start the upstream and the proxy; both end with it."""
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder, contextlib.ExitStack() as started:
        upstream = children.start_upstream("bench.upstream", log=Path(folder, "upstream.log"))
        started.callback(upstream.stop)
        port, config = children.free_port(), Path(folder, "proxy.toml")
        config.write_text(configuration(port, upstream.port, 0))
        child = children.start_listening(children.asyncproxy(config), port, log=Path(folder, "proxy.log"))
        started.callback(child.stop)
        yield Alone(child, config, upstream.port)
