"""Tasks that are methods."""

from dataclasses import dataclass

from executions import ran
from prefect import flow, task


class Reader:
    @task
    def read(self, name: str) -> list[str]:
        ran("read")
        return [name, *self.names()]

    def names(self) -> list[str]:
        return ["base"]


@dataclass
class Pipeline(Reader):
    factor: int

    @task(retries=1)
    def scale(self, number: int) -> int:
        ran("scale")
        return number * self.factor

    @staticmethod
    @task
    def offset(number: int) -> int:
        ran("offset")
        return number + 1

    @classmethod
    @task
    def title(cls, number: int) -> str:
        ran("title")
        return f"{cls.__name__} {number}"

    @flow
    def run(self, number: int) -> list[object]:
        return [self.read("file"), self.title(self.offset(self.scale(number)))]


class Doubling(Pipeline):
    def names(self) -> list[str]:
        return ["doubling"]


def main() -> list[object]:
    return [Pipeline(3).run(1), Doubling(2).run(1)]
