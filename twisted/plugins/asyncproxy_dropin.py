"""Declares ``twistd asyncproxy``; the command's own code is imported only when it is used."""

from twisted.application.service import ServiceMaker

asyncproxy = ServiceMaker(
    "asyncproxy",
    "asyncproxy.service",
    "A programmable HTTP proxy: await anywhere, block anywhere.",
    "asyncproxy",
)
