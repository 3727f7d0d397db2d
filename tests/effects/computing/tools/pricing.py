"""Prices with discounts."""

from dataclasses import dataclass, field

from .rules import discount

PRICES = {"book": 12.5, "toy": 8.0}


@dataclass
class Basket:
    """What somebody buys."""

    amounts: dict
    log: list = field(default_factory=list)

    def total(self):
        total = 0.0
        for name, amount in self.amounts.items():
            price = PRICES[name] * amount * (1 - discount(amount))
            self.log.append((name, price))
            total += price
        return round(total, 2)
