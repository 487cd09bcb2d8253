"""Where everything is put together: the command line, the service, and the proxy as a library.

    command.py   the command line: Options and makeService, which twistd uses
    process.py   ProxyService: a proxy alone in its process, its signals and its exit status
    proxy.py     Proxy: the rooms furnished, on anybody's reactor
    ports.py     where a proxy listens
    binding.py   routes with their modules
    hooks.py     `start` and `stop` of modules
    policies.py  what becomes of tickets that nobody resumes
    draining.py  how a proxy empties before it stops
    reloading.py another configuration in the place of a running one's
    signals.py   what signals mean while a proxy has the process
    site.py      modules in a stock twisted.web Site

This room alone may import the reactor, and that inside `Proxy.start`: all else is given its reactor or its clock.
"""

from asyncproxy.service.binding import Bound, bind, bind_all, finder
from asyncproxy.service.command import Options, install_uvloop_reactor, makeService
from asyncproxy.service.hooks import NotStarted
from asyncproxy.service.ports import address_text
from asyncproxy.service.process import ProxyService
from asyncproxy.service.proxy import Proxy
from asyncproxy.service.reloading import Change, NotReloaded

__all__ = [
    "Bound",
    "Change",
    "NotReloaded",
    "NotStarted",
    "Options",
    "Proxy",
    "ProxyService",
    "address_text",
    "bind",
    "bind_all",
    "finder",
    "install_uvloop_reactor",
    "makeService",
]
