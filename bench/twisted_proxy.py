"""twisted.web.proxy as its documentation starts it: ``python -m bench.twisted_proxy PORT UPSTREAM_PORT``."""

import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.web import proxy, server


def main(port: int, upstream_port: int) -> None:
    """Serve until a signal. The backlog is nginx's and Apache's own; Twisted's 50 would drop a burst."""
    twisted: Any = (proxy, server, installed)
    proxies, servers, reactor = twisted
    site = servers.Site(proxies.ReverseProxyResource("127.0.0.1", upstream_port, b""))
    reactor.listenTCP(port, site, backlog=511, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
