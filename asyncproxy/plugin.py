"""What a package writes to have its modules found by a short name: a declaration, in a file of `twisted/plugins/`.

Twisted imports such files for any of its commands when its cache is not there, so this file needs next to nothing, and
a declaration imports nothing of the module. It provides IPlugin alone: Twisted's cache names the interfaces of what it
has seen, and one of ours would have every `twistd` import asyncproxy, and fail once that is uninstalled.
"""

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

__all__ = ["ModuleMaker"]

EXAMPLE: Final = 'ModuleMaker("orders", "orders_proxy.module:Orders", "Orders, with their prices.")'


@implementer(IPlugin)
class ModuleMaker:
    """Declares that routes may say ``module = "NAME"`` for the class at ``place``, written ``package.file:Class``.

    Stands in a file of ``twisted/plugins/``, which has no ``__init__.py``, under any public name:
    ``orders = ModuleMaker("orders", "orders_proxy.module:Orders", "Orders, with their prices.")``. `description` is a
    line for whoever looks for a module. Raises ValueError for a name or place of another shape.
    """

    def __init__(self, name: str, place: str, description: str = "") -> None:
        if not name or ":" in name or name != name.strip():
            raise ValueError(f"{name!r} is no name for a module; write for example {EXAMPLE}")
        file, _, called = place.partition(":")
        if not all(part.isidentifier() for part in [*file.split("."), *called.split(".")]):
            raise ValueError(f"{place!r} is not package.file:Class; write for example {EXAMPLE}")
        self.name = name
        self.place = place
        self.description = description

    def __repr__(self) -> str:
        return f"<ModuleMaker {self.name}: {self.place}>"
