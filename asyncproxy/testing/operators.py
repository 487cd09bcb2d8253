"""What operators and modules may ask of a lab that they may ask of a running proxy: a part of `Lab`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncproxy.testing.lab_house import LabHouse


class OperatedLab:
    """See the file's head."""

    house: LabHouse

    def _look(self) -> None:
        raise AssertionError("a subclass lets happen what can")

    def _after_call(self) -> None:
        raise AssertionError("a subclass lets happen what a call has made possible")

    def cancel(self, request_id: str, status: int = 503, by: str = "") -> dict[str, Any]:
        """An operator ends the parked request of that id, see `Proxy.cancel`."""
        return self._operate(self.house.cancel, request_id, status, by)

    def extend(self, request_id: str, seconds: float, by: str = "") -> dict[str, Any]:
        """An operator lets the parked request of that id wait longer, see `Proxy.extend`."""
        return self._operate(self.house.extend, request_id, seconds, by)

    def begin_drain(self) -> None:
        """As a module asks for it; a lab drains by `drain`."""
        self.house.begin_drain()

    @property
    def admin_address(self) -> Any:
        """Where the admin listener would listen, as modules see it: 127.0.0.1:8081."""
        return self.house.admin_address

    def _operate(self, operation: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
        self._look()
        result = operation(*args)
        self._after_call()
        return result
