"""For tests of modules and of configurations: the proxy in memory, with no thread, no socket and no sleep.

    from asyncproxy.testing import Lab

    lab = Lab(Orders)
    request = lab.get("/orders/7")
    lab.upstream("pricing").answer(json={"price": 3})
    assert request.status == 200

Start at `Lab`. Everything below it is the proxy's own code; what stands at its boundaries are the fakes of this room,
which may be used apart: `Clock`, `SteppedWorkers`, `PollingRound`, `MemoryNetwork`, `Wire`.

Names are imported when they are asked for: pytest loads the plugin of this package in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncproxy.testing.client import ClientRequest
    from asyncproxy.testing.clock import Clock, LabReactor
    from asyncproxy.testing.house import FakeClient, House
    from asyncproxy.testing.lab import Lab, LeftBehind
    from asyncproxy.testing.network import Descriptors, FakeUpstream, MemoryNetwork, Names
    from asyncproxy.testing.servers import Upstream
    from asyncproxy.testing.stepping import PollingRound, SteppedWorkers
    from asyncproxy.testing.upstream import UpstreamRequest
    from asyncproxy.testing.wire import Wire

__all__ = [
    "ClientRequest",
    "Clock",
    "Descriptors",
    "FakeClient",
    "FakeUpstream",
    "House",
    "Lab",
    "LabReactor",
    "LeftBehind",
    "MemoryNetwork",
    "Names",
    "PollingRound",
    "SteppedWorkers",
    "Upstream",
    "UpstreamRequest",
    "Wire",
]
_FILES = {
    "ClientRequest": "client",
    "Clock": "clock",
    "Descriptors": "network",
    "FakeClient": "house",
    "FakeUpstream": "network",
    "House": "house",
    "Lab": "lab",
    "LabReactor": "clock",
    "LeftBehind": "lab",
    "MemoryNetwork": "network",
    "Names": "network",
    "PollingRound": "stepping",
    "SteppedWorkers": "stepping",
    "Upstream": "servers",
    "UpstreamRequest": "upstream",
    "Wire": "wire",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its file."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    globals()[name] = found
    return found
