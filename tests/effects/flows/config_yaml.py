"""Configuration that is read when the module is imported."""

from pathlib import Path

import yaml
from prefect import flow, task

CONFIG = yaml.safe_load(Path("data/config.yaml").read_text())


class Steps:
    names = CONFIG["steps"]


@task
def scaled(values: list[float]) -> list[float]:
    return [value * CONFIG["factor"] for value in values]


@task
def steps() -> str:
    return " > ".join(Steps.names)


@flow
def configured(values: list[float]):
    return [scaled(values), steps()]


def main():
    return configured([1.0, 2.0])
