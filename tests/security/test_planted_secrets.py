"""One table of planted secrets over every output there is: what is written, and what commands and artifacts show."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from expops_prefect._internal.redaction import Redacting, masked, masked_message, masked_source
from expops_prefect.errors import BackendError, ConfigurationError
from expops_prefect.models.names import process_path, row_key, run_record_key, run_status_key
from tests.interop.test_ui import ui
from tests.security.test_secrets import holders
from tests.support.processes import FlowProject

_TOKEN: Final = "Zq7pLANTED{0}x9"
FORMS: Final = {
    "dsn": "postgres://bob:{0}@db.example/x",
    "address": "mysql+pymysql://bob:{0}@db.example:3306/x?ssl=1",
    "aws_access_key_id": "{0}",
    "aws": "AKIAPLANTED{0}",
    "headers": "Authorization: Bearer {0}",
    "client": {"retries": 3, "apiKey": "{0}"},
    "env": [{"name": "DB_PASSWORD", "value": "{0}"}],
    "arguments": ["run", "--token", "{0}", "--epochs", "3"],
    "download": "curl -s -u bob:{0} https://shop.example/orders",
    "upload": ["curl", "--user", "bob:{0}", "https://shop.example/orders"],
    "dump": "mysqldump -h db.example -u root -p{0} shop",
    "connection": "Server=s;Uid=u;Pwd={0};",
    "storage": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={0};",
    "link": "https://bucket.example/o?X-Goog-Credential=me&sig={0}&n=1",
    "password": "{0}",
}
"""Names, and the forms in which a secret stands under them."""


def _planted(place: int) -> tuple[dict[str, object], list[str]]:
    """The table with secrets of its own for a place, and those secrets."""
    made, secrets = {}, []
    for number, (name, form) in enumerate(FORMS.items()):
        secret = f"{place:03d}{number:06d}" if name == "aws" else _TOKEN.format(f"{place}n{number}")
        secrets.append(f"AKIAPLANTED{secret}" if name == "aws" else secret)
        made[name] = json.loads(json.dumps(form).replace("{0}", secret))
    return made, secrets


FLOW = """
import os, sys
from executions import ran
from expops_prefect import flow, task

URL = {url!r}
PASSWORD = {password!r}


def connect(url=URL, headers={headers!r}, password={default!r}):
    settings = dict(dsn={dsn!r}, epochs=3)
    settings["token"] = os.environ.get("SHOP_TOKEN", {environ!r})
    return f"{{url}}{{settings}}{{password}}{{PASSWORD}}"


@task
def train(n):
    ran("train")
    return len(connect()) + n


@task
def failing(n):
    raise ValueError(f"no connection to {{URL}} with password={{PASSWORD!r}}")


@task
def unhashable(lock):
    raise ValueError(f"no connection to {{URL}}")


@flow
def main(settings: dict):
    import threading

    train(len(settings))
    failing(1, return_state=True)
    unhashable(threading.Lock(), return_state=True)


if __name__ == "__main__":
    import json
    main(json.loads(open("parameters").read()))
"""
ARTIFACTS = """
from prefect.client.orchestration import get_client

with get_client(sync_client=True) as client:
    ours = {"limit": 200, "artifacts": {"key": {"like_": "%shop-of-secrets%"}}}
    for artifact in client.request("POST", "/artifacts/filter", json=ours).json():
        print(artifact["data"], artifact["description"])
"""


def _plant(shop: FlowProject, place: int) -> list[str]:
    """Write configuration, code and parameters that are full of secrets."""
    process, secrets = _planted(place)
    parameters, more = _planted(place + 1)
    code, last = _planted(place + 2)
    shop.configure(
        yaml.safe_dump(
            {
                "prefect": {"project_id": "shop-of-secrets"},
                "experiment": {
                    "pipeline": {"processes": [{"name": "train", "parameters": process | {"epochs": place}}]}
                },
            }
        )
    )
    named = {"url": code["dsn"], "password": code["password"], "headers": {"Authorization": f"Basic {last[0]}"}}
    shop.write(
        "main.py",
        FLOW.format(**named, default=code["aws_access_key_id"], dsn=code["address"], environ=code["password"]),
    )
    shop.write("parameters", json.dumps(parameters))
    return [*secrets, *more, *last]


def _of_an_older_store(shop: FlowProject) -> tuple[dict[str, str], list[str]]:
    """What is shown of a run in which nothing was left out when it was written, and the secrets that it has."""
    made, secrets = _planted(40)
    project = shop.project()
    newest = project.runs()[0]
    old = replace(
        newest, run_id=f"{newest.run_id[:-8]}0000cafe", parameters={k: json.dumps(v) for k, v in made.items()}
    )
    config = {f"parameters.{name}": f"0123456789abcdef {json.dumps(value)}" for name, value in made.items()}
    parts = {
        "format": 1,
        "inputs": {"url": {"": "01 str", f".{made['dsn']}": "02 str"}},
        "others": [],
        "config": config,
    }
    row = {
        "status": "failed",
        "process_name": process_path("train"),
        "step_name": "__process__",
        "label": "train",
        "started_at": 1.0,
        "ended_at": 2.0,
        "run_id": old.run_id,
        "parts": json.dumps(parts),
        "note": made["headers"],
        "miss": "damaged",
        "miss_reason": f"no connection to {made['dsn']}",
        "not_kept": f"{made['connection']}",
    }
    project.kv.put(run_record_key(old.run_id), old.dump())
    project.kv.put(run_status_key(old.run_id), "failed")
    project.kv.put(row_key(old.run_id, process_path("train")), row)
    run = old.run_id[-23:]
    shown = {}
    for command in (f"runs show {run} --json", f"runs show {run}", f"cache explain {run}", "runs list --json"):
        shown[f"{command}, older"] = shop.run("-m", "expops_prefect.cli.main", *command.split()).ok().output
    assert "0123456789abcdef" in shown[f"runs show {run} --json, older"]
    assert "no connection to" in shown[f"runs show {run}, older"]
    return shown, secrets


def _of_the_written_graph(shop: FlowProject) -> dict[str, str]:
    """What ``graph --write`` prints, and adds to a file that has secrets of its own."""
    file = shop.root / "configs" / "project_config.yaml"
    before = file.read_text().splitlines()
    printed = shop.run("-m", "expops_prefect.cli.main", "graph", "latest", "--write").ok().output
    added = [line for line in file.read_text().splitlines() if line not in before]
    assert any("train" in line for line in added)
    file.write_text("\n".join(before) + "\n")
    return {"graph --write": printed, "the written graph": "\n".join(added)}


def _of_the_ui(shop: FlowProject) -> dict[str, str]:
    """Every page and answer of ``ui`` for every run."""
    found = {}
    with ui(shop) as (server, _):
        project = f"/projects/{server.projects()[0]}"
        runs = server.json(f"{project}/runs")["runs"]
        assert len(runs) == 3
        path = urllib.parse.quote(process_path("train"), "")
        asked = ["", "/graph", "/runs", "/chart-config", "/backend-config"]
        asked += [f"/runs/{run}/{what}" for run in runs for what in ("status", "charts", f"metrics/{path}")]
        for each in asked:
            try:
                found[f"ui {each}"] = server.bytes(f"{project}{each}").decode()
            except urllib.error.HTTPError as error:
                found[f"ui {each}"] = error.read().decode()
        for page in ("", f"{project}/configs/project_config.yaml"):
            with urllib.request.urlopen(f"{server.url}{page}", timeout=20) as answer:
                found[f"ui page {page}"] = answer.read().decode()
    assert all("train" in found[f"ui /runs/{run}/status"] for run in runs)
    return found


@pytest.mark.usefixtures("flow_processes")
def test_no_output_holds_a_planted_secret(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path)
    secrets = _plant(shop, 10)
    shop.run("main.py").ok()
    secrets += _plant(shop, 20)
    assert shop.run("main.py").ok().executions == {"train": 1}
    shop.write("artifacts.py", ARTIFACTS)
    said = {"artifacts": shop.run("artifacts.py").ok().output}
    for command in (
        "cache explain latest",
        "cache explain latest --json",
        "runs show latest",
        "runs show latest --json",
        "runs diff latest",
        "runs list --json",
        "graph latest",
        "cache list --json",
        "doctor --json",
    ):
        if command == "runs diff latest":
            runs = json.loads(shop.run("-m", "expops_prefect.cli.main", "runs", "list", "--json").ok().output)
            command = f"runs diff {runs[1]['run_id']} latest"
        said[command] = shop.run("-m", "expops_prefect.cli.main", *command.split()).output
    older, of_older = _of_an_older_store(shop)
    said |= older
    said |= _of_the_written_graph(shop)
    said |= _of_the_ui(shop)
    explained = said["cache explain latest"]
    assert "configuration parameters.epochs: 10 -> 20" in explained
    assert "configuration parameters.dsn changed" in explained
    assert "code of main:connect changed" in explained
    assert "train" in said["artifacts"]
    assert "not shown" in said["runs show latest --json"]
    for secret in [*secrets, *of_older]:
        assert [command for command, output in said.items() if secret in output] == []
    for secret in secrets:
        assert holders(shop.root / ".shop-of-secrets", secret) == []
        storage = shop.folder / "prefect-home" / "storage"
        assert holders(storage, secret) == [], "exceptions of failed tasks are stored nowhere"
    assert holders(shop.root / "configs", _planted(20)[1][0]), "the search finds what is there"


@pytest.mark.parametrize("name", FORMS)
def test_errors_and_the_log_cite_no_secret(name: str) -> None:
    made, secrets = _planted(30)
    secret = secrets[list(FORMS).index(name)]
    said = made[name] if isinstance(made[name], str) else json.dumps(made[name])
    text = f"could not connect: {name}={said}" if said == secret else f"could not connect: {said}"
    assert secret in text
    for error in (BackendError(text), ConfigurationError(text)):
        assert secret not in str(error)
        assert str(error).startswith("could not connect: ")


@pytest.mark.parametrize(
    "text",
    [
        "prefect.cache.signing_key_file: it cannot be read",
        "api_token: the data file is gone; it runs uncached",
        "process:make_keys:0123abcd: the record is damaged",
        "the manifest gs://bucket/project/cache/x.json is gone",
        "reading /srv/keys.py: permission denied",
        "basic settings are missing",
    ],
)
def test_messages_stay_as_they_are(text: str) -> None:
    if text.startswith("basic"):
        text = f"the {text}"
    assert masked_message(text) == text


LINES = [
    (("%s: %s; %s", "secret", "it reads the clock", "more"), "secret: it reads the clock; more"),
    (("%s: %s: %s", "kind", "password", "ValueError('x')"), "kind: password: ValueError('x')"),
    (("%s: its parameter %r", "my secret", "lock"), "my secret: its parameter 'lock'"),
    (("%d %% of %s: it", 3, "passwords"), "3 % of passwords: it"),
    (("%s: %s", "password", "the password: hunter2 is wrong"), "password: the password: *** is wrong"),
    (("%s failed", "password: hunter2"), "password: *** failed"),
    (("%s: it", "api_key=hunter2"), "api_key=*** it"),
    (("password=%s", "hunter2"), "password=***"),
]


@pytest.mark.parametrize(("given", "shown"), LINES, ids=[shown for _, shown in LINES])
def test_what_a_line_of_the_log_is_about_is_shown(given: tuple[Any, ...], shown: str) -> None:
    record = logging.LogRecord("prefect.expops", logging.INFO, "", 0, given[0], given[1:], None)
    assert Redacting().filter(record)
    assert record.getMessage() == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("password: str = 'PLANTED'", "password: str = '***'"),
        ("def f(a, token='PLANTED', *, n=3):\n    return n", "def f(a, token='***', *, n=3):\n    return n"),
        ("f(1, api_key=b'PLANTED', epochs=3)", "f(1, api_key='***', epochs=3)"),
        ("{'Authorization': 'PLANTED', 'n': 1}", "{'Authorization': '***', 'n': 1}"),
        ("os.getenv('DB_PASSWORD', 'PLANTED')", "os.getenv('DB_PASSWORD', '***')"),
        ("settings['secret'] = 'PLANTED'", "settings['secret'] = '***'"),
        ("ok = password == 'PLANTED'", "ok = password == '***'"),
        ("x = f'postgres://{user}:PLANTED@{host}/a'", "x = f'postgres://{user}:***@{host}/a'"),
        ("self.pin.password = 'PLANTED'", "self.pin.password = '***'"),
        ("max_tokens = 512", "max_tokens = 512"),
        ("sorted(rows, key=lambda row: row['name'])", "sorted(rows, key=lambda row: row['name'])"),
        ("author = 'somebody'", "author = 'somebody'"),
    ],
)
def test_secrets_in_source_code(source: str, shown: str) -> None:
    assert masked_source(source) == shown


@pytest.mark.parametrize("name", ["const:shop:API_KEY", "closure:shop:make:password"])
def test_values_of_secret_names(name: str) -> None:
    assert masked_source("'PLANTED'", name) == "'***'"
    assert masked_source("'PLANTED'", "const:shop:CITY") == "'PLANTED'"


def test_what_is_masked_may_come_by_again() -> None:
    made, _ = _planted(50)
    shown = json.dumps(masked(made))
    assert "not shown" in shown
    assert masked(shown) == masked(masked(shown)) == shown
