"""``make run``: the proxy on 127.0.0.1:8080 before the demo's upstream, until Ctrl-C."""

import signal
import sys
from pathlib import Path

from examples.demo import children
from examples.demo.children import Child

HERE = Path(__file__).parent
PROXY, ADMIN, UPSTREAM = 8080, 8081, 9000
TRY = f"""
asyncproxy serves on http://127.0.0.1:{PROXY} (five workers); Ctrl-C ends it. Try:

  curl 'http://127.0.0.1:{PROXY}/hello-from-a-module?name=world'
  curl 'http://127.0.0.1:{PROXY}/slow?s=5' &        # waits five seconds, without a worker
  curl 'http://127.0.0.1:{ADMIN}/status.json'       # where it is seen, parked
"""


def serve() -> Child:
    """The proxy, its output on this terminal."""
    return children.start_listening(children.asyncproxy(HERE / "proxy.toml"), PROXY)


def wait(proxy: Child) -> int:
    """Until it ends by itself or we are told to end; its status, or 0 when we ended it."""
    try:
        return proxy.process.wait()
    except KeyboardInterrupt:
        print("\nending; Ctrl-C again does not wait for it", flush=True)
    try:
        proxy.stop(patience=30)
    except KeyboardInterrupt:
        proxy.stop(patience=0)
    return 0


def main() -> int:
    """Start both, say what to try, end both."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for port in (PROXY, ADMIN, UPSTREAM):
        children.must_be_free(port)
    upstream = children.start_upstream("examples.demo.upstream", port=UPSTREAM)
    try:
        proxy = serve()
        print(TRY, flush=True)
        return wait(proxy)
    finally:
        upstream.stop()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as wrong:
        sys.exit(f"it did not start: {wrong}")
    except KeyboardInterrupt:
        sys.exit(130)
