"""A forward to an upstream that has another name for the place than its client: see `exchange.rewriting`.

The rule: whoever forwards plainly pays nothing for it, so all of it is in a forwarding of its own.
"""

from __future__ import annotations

from asyncproxy.exchange.forwarding import head_after_target
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.rewriting import Rewriting, with_host
from asyncproxy.exchange.waits import MappedForward
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.polling.upstream_connection import UpstreamConnection


class MappedForwarding(Forwarding):
    """On a `MappedForward`."""

    __slots__ = ()
    wait: MappedForward

    def send_over(self, connection: UpstreamConnection) -> None:
        """Send the request over `connection`."""
        if not self.wait.preserve_host:
            self.request.onward = None  # it was made for another route, which keeps the Host
        super().send_over(connection)

    def _head_passed_on(self) -> bytes:
        """What follows the target: the Host is that of the server that is asked, so it is not kept."""
        request = self.request
        if self.wait.preserve_host or not request.noted.hosts:
            return super()._head_passed_on()
        block = with_host(self._going_on(request.passed), self._authority())
        return head_after_target(block, request.peer.told(request.host_value), self._via(), self._passed_framing())

    def _authority(self) -> bytes:
        assert self.pool is not None
        return self.pool.origin.authority.encode("ascii")

    def arrived(self, reply: Reply) -> None:
        """The reply's head is there: it goes on in the client's words."""
        if self.wait.rewrite:
            block = self._rewriting().block(reply.passed)
            if block != reply.passed:
                reply = reply.passing(block)
        super().arrived(reply)

    def _rewriting(self) -> Rewriting:
        request, peer = self.request, self.request.peer
        asked, client = request.host_value, peer.asked_for(request.host_value)
        return Rewriting(self._authority(), (asked,), client, peer.scheme, self.wait.prefix)
