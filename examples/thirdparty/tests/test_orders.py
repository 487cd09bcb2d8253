from __future__ import annotations

import pytest
from orders_proxy.module import Orders, Shop


def test_settings_are_read_by_their_types() -> None:
    orders = Orders(shops={"slow": {"price": 8, "thinks": "200ms"}}, patience="2s")
    assert orders.shops == {"slow": Shop(8, 0.2)}
    assert (orders.patience, orders.currency) == (2.0, "EUR")


def test_discounts_are_taken_one_after_the_other() -> None:
    assert Orders(shops={}, discounts=[10, 5]).reduced(100) == 85.5


def test_a_misspelt_setting_is_told() -> None:
    with pytest.raises(ValueError, match=r"Orders.discount: no such setting; did you mean discounts\?"):
        Orders(shops={}, discount=[10])
