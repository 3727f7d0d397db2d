"""Classes of the script as parameters and results."""

from dataclasses import dataclass, field, replace

from prefect import flow, task


@dataclass
class Customer:
    name: str
    orders: list = field(default_factory=list)
    segment: str | None = None

    @property
    def spent(self):
        return sum(self.orders)


class Segmenter:
    def __init__(self, limit):
        self.limit = limit

    def segment(self, customer):
        return "gold" if customer.spent >= self.limit else "basic"


@task
def load() -> list[Customer]:
    return [Customer("ann", [10, 20]), Customer("bob", [3])]


@task
def segmented(customers, segmenter):
    return [replace(customer, segment=segmenter.segment(customer)) for customer in customers]


@task
def names(customers):
    return {customer.segment: customer.name for customer in customers}


@flow
def customers(limit: int = 25):
    return names(segmented(load(), Segmenter(limit)))


def main():
    return customers()
