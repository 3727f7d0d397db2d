"""Parameters and results that are pydantic's."""

from datetime import date

from prefect import flow, task
from pydantic import BaseModel, Field, SecretStr


class Window(BaseModel):
    start: date
    days: int = Field(ge=1, default=3)


class Summary(BaseModel):
    window: Window
    values: dict[str, float]


@task
def days(window: Window) -> list[date]:
    return [date.fromordinal(window.start.toordinal() + number) for number in range(window.days)]


@task
def summary(window: Window, found: list[date]) -> Summary:
    return Summary(window=window, values={day.isoformat(): day.day / 2 for day in found})


@task
def masked(secret: SecretStr) -> int:
    return len(secret.get_secret_value())


@flow
def windowed(window: Window, secret: SecretStr = SecretStr("abc")) -> dict:
    return {**summary(window, days(window)).model_dump(mode="json"), "secret": masked(secret)}


def main():
    return windowed(window={"start": "2026-02-27"})
