"""Where the effects of the helpers' shape are."""

import http.client
import os
import random
import socket
import sqlite3
import subprocess
import uuid
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.runtime import task_run
from prefect.variables import Variable

OUT = Path("out")
SEEN = []
calls = 0


def stamp():
    return datetime.now(tz=timezone.utc).isoformat()


def draw(low, high):
    return random.uniform(low, high)


def token():
    return str(uuid.uuid4())


def where():
    return f"{socket.gethostname()}:{os.getpid()}"


def fetch(path):
    address = urlsplit(os.environ["WORLD"])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request("GET", address.path + path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def database():
    return sqlite3.connect("world.db")


def insert(connection, mark):
    with connection:
        connection.execute("insert into marks values (?)", (mark,))
    connection.close()
    return mark


def shell(*command):
    with (OUT / "commands.txt").open("a") as log:
        return subprocess.call(command, stdout=log)


def write(name, text):
    target = OUT / name
    target.write_text(text)
    return target


def remove(mark):
    old = OUT / f"old-{mark}"
    old.unlink()
    return old.name


def bump():
    global calls
    calls += 1
    return "counted"


def remember(mark):
    SEEN.append(mark)
    return len(mark)


def scale(frame):
    frame["scaled"] = frame["value"] / frame["value"].max()
    return frame


def extend(rows):
    rows.append(sum(rows))
    return rows


def train(model, values, target):
    return model.fit(values, target)


def advance(generator):
    return float(generator.normal())


def publish(mark):
    create_markdown_artifact(key=mark, markdown="# Report")
    return "published"


def notify(mark):
    emit_event(event="corpus.done", resource={"prefect.resource.id": f"corpus.{mark}"})
    return "told"


def save(mark, value):
    Variable.set(mark.replace("-", "_"), value, overwrite=True)
    return value


def password():
    return Secret.load("corpus").get()


def run_name():
    return task_run.id


def count_runs():
    with get_client(sync_client=True) as client:
        return len(client.read_flow_runs(limit=3)) > 0


def scan(path):
    return pl.scan_csv(path).filter(pl.col("value") > 1)


def ask(question):
    return input(question)


def read(path):
    return Path(path).read_text()


def region():
    return os.environ.get("CORPUS_REGION", "none").upper()


def threshold():
    return int(Variable.get("corpus_threshold")) + 1


def names_in(folder):
    return sorted(os.listdir(folder))
