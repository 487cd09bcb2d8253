"""TOML, or a dict of the same shape, becomes frozen settings here; nothing else reads configuration.

Whatever is wrong is found at start and all at once, and each line of the error names the file, the place and the mend:
an operator mends a file in one go, and no request ever meets a setting that makes no sense. After this a duration is a
float of seconds and a size an int of bytes.

``settings`` says what there is, ``values`` reads one value, ``reading`` all of a source, ``description`` says it back.
"""

from asyncproxy.configuration.description import describe
from asyncproxy.configuration.reading import ConfigurationError, from_options, load
from asyncproxy.configuration.settings import Admin, Limits, Route, Server, Settings, Upstream
from asyncproxy.exchange.origin import Origin
from asyncproxy.exchange.units import duration, size

__all__ = [
    "Admin",
    "ConfigurationError",
    "Limits",
    "Origin",
    "Route",
    "Server",
    "Settings",
    "Upstream",
    "describe",
    "duration",
    "from_options",
    "load",
    "size",
]
