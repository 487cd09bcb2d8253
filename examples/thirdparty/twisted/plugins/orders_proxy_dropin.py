"""Declares the module `orders`; its own code is imported when a route asks for it."""

from asyncproxy.plugin import ModuleMaker

orders = ModuleMaker("orders", "orders_proxy.module:Orders", "Answers with an order's prices, each from its shop.")
