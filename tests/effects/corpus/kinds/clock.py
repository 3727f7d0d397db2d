"""Tasks whose result depends on when they run."""

import time
from datetime import date, datetime

import near
import pandas as pd
import pendulum
from cases import Case
from prefect import task


@task
def now(mark):
    return f"{mark} {time.time():.9f}"


@task
def today(day=None):
    if day is None:
        day = date.today()
    return day.strftime("%d.%m.%Y")


@task
def stamped(mark):
    return near.stamp()


class Batch:
    def __init__(self, name):
        self.name = name

    @task
    def label(self, mark):
        return f"{self.name}-{datetime.now():%H%M%S%f}"


@task
async def latest(mark):
    return {"mark": mark, "at": time.time_ns()}


@task
def timestamp(mark):
    return pd.Timestamp.now().isoformat()


@task
def local(mark):
    return pendulum.now("UTC").to_iso8601_string()


@task
def expired(limit):
    return [time.localtime().tm_year > limit, time.strftime("%Y"), datetime.utcnow().timestamp()]


@task
def loaded_at(rows):
    frame = pd.DataFrame(rows)
    frame["loaded_at"] = pd.to_datetime("now")
    return frame


Case("clock", "direct", now, fresh=True)
Case("clock", "direct", today, args=lambda mark: ())
Case("clock", "direct", expired, args=lambda mark: (2030,), fresh=True)
Case("clock", "helper", stamped, fresh=True)
Case("clock", "method", Batch("night").label, fresh=True)
Case("clock", "async", latest, fresh=True)
Case("clock", "third party", timestamp, fresh=True)
Case("clock", "third party", local, fresh=True)
Case("clock", "third party", loaded_at, args=lambda mark: ([{"a": 1}, {"a": 2}],), fresh=True)
