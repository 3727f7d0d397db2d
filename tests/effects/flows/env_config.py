"""Configuration by the environment."""

import os
from dataclasses import dataclass

from prefect import flow, task


@dataclass
class Config:
    region: str
    limit: int

    @classmethod
    def from_env(cls):
        return cls(region=os.getenv("SHOP_REGION", "none"), limit=int(os.environ.get("SHOP_LIMIT", 10)))


@task
def config() -> Config:
    return Config.from_env()


@task
def endpoint() -> str:
    return f"https://{os.environ['SHOP_REGION']}.shop.example/v1"


@task
def limited(values: list[int], config: Config) -> list[int]:
    return values[: config.limit]


@flow
def configured():
    found = config()
    return [found.region, endpoint(), limited(list(range(20)), found)]


def main():
    return configured()
