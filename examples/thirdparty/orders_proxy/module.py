"""The module `orders`: settings of every usual type, a wait, and an answer in JSON."""

from typing import Literal

import msgspec

from asyncproxy import Duration, Module, Request, Response, Size, sleep


class Shop(msgspec.Struct):
    """A table of the settings: what a shop takes for a piece, and how long it thinks."""

    price: int
    thinks: Duration = 0.0


class Orders(Module):
    """Answers ``?shop=NAME&pieces=N`` with the sum. Thousands may wait for slow shops, and no thread waits too."""

    shops: dict[str, Shop]
    """One table a shop; at least this must be set."""
    currency: Literal["EUR", "USD"] = "EUR"
    discounts: list[int] = []
    """Percent, one after the other."""
    patience: Duration = 10.0
    """Seconds that a shop may think."""
    longest_query: Size = 1024
    note: str | None = None

    async def handle(self, request: Request) -> Response:
        """Wait as long as the shop thinks, and answer."""
        if len(request.query) > self.longest_query:
            return Response.text("414 URI Too Long: ask for less\n", 414)
        shop = self.shops.get(request.args.get("shop", [""])[0])
        pieces = request.args.get("pieces", ["1"])[0]
        if shop is None or not pieces.isdecimal() or len(pieces) > 9:
            return Response.text(f"400 Bad Request: shops are {', '.join(self.shops)}; pieces is a number\n", 400)
        if shop.thinks > self.patience:
            return Response.text("504 Gateway Timeout: the shop thinks for too long\n", 504)
        await sleep(shop.thinks)
        answer = {"sum": self.reduced(shop.price * int(pieces)), "currency": self.currency}
        return Response.json(answer if self.note is None else {**answer, "note": self.note})

    def reduced(self, price: float) -> float:
        """`price` after all discounts."""
        for percent in self.discounts:
            price *= 1 - percent / 100
        return round(price, 2)
