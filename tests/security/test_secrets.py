"""What a run must not give away stands nowhere in what it writes; and nobody else can write there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.processes import FlowProject

pytestmark = pytest.mark.usefixtures("flow_processes")

PRIVATE, FIREBASE, SIGNING, PASSED = (f"planted-{name}-4d1f0b7c2a9e4f3e8b6a5c0d" for name in "abcd")
CONFIG = f"""
experiment:
  cache:
    backend: {{type: local, credentials_json: secrets/firestore.json, firebase_api_key: {FIREBASE}}}
prefect: {{project_id: shop, cache: {{signing_key_file: secrets/signing}}}}
"""
FLOW = """
import os, sys
os.umask(int(os.environ["TEST_UMASK"], 8))
import numpy as np
from pydantic import SecretStr
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task

PASSED = open("secrets/passed").read()


@task(retries=1)
def load(n, password):
    ran("load")
    assert password == PASSED
    log_metric("n", n)
    log_chart("picture", b"\\x89PNG\\r\\n\\x1a\\n")
    return {"n": n, "array": np.arange(n)}


@task
def unhashable(lock, api_token):
    return 1


@task
def failing(password):
    raise ValueError("on purpose")


@flow
def main(login: SecretStr, settings: dict):
    import threading

    load(100_000, login.get_secret_value())
    unhashable(threading.Lock(), login.get_secret_value())
    failing(login.get_secret_value(), return_state=True)


if __name__ == "__main__":
    main(SecretStr(PASSED), {"n": 1}, return_state=True)
    main(SecretStr(PASSED), {"n": 1}, return_state=True)
"""


@pytest.fixture
def planted(tmp_path: Path) -> FlowProject:
    shop = FlowProject(tmp_path, CONFIG)
    shop.write("main.py", FLOW)
    shop.write("secrets/firestore.json", json.dumps({"type": "service_account", "private_key": PRIVATE}))
    shop.write("secrets/signing", SIGNING)
    shop.write("secrets/passed", PASSED)
    return shop


def holders(folder: Path, secret: str) -> list[str]:
    """The files below a folder that hold a secret."""
    files = [item for item in folder.rglob("*") if item.is_file() and not item.is_symlink()]
    return [str(item) for item in files if secret.encode() in item.read_bytes()]


@pytest.mark.parametrize("mask", ["000", "077"])
def test_secrets_and_permissions(planted: FlowProject, mask: str) -> None:
    done = planted.run("main.py", env={"TEST_UMASK": mask}).ok()
    assert done.executions == {"load": 1}
    doctor = planted.run("-m", "expops_prefect.cli.main", "doctor", "--json")
    shown = planted.run("-m", "expops_prefect.cli.main", "runs", "show", "latest", "--json").ok()
    assert "shop" in doctor.output
    runtime = planted.root / ".shop"
    assert {item.name for item in runtime.iterdir()} >= {"metrics.sqlite", "cache", "artifacts"}
    places = [runtime, planted.folder / "prefect-home", Path(os.environ["EXPOPS_TEST_FOLDER"]) / "prefect-server"]
    for secret in (PRIVATE, FIREBASE, SIGNING, PASSED):
        for said in (done, doctor, shown):
            assert secret not in said.output
        for place in places:
            assert holders(place, secret) == []
    assert holders(planted.root / "secrets", SIGNING), "the search finds what is there"
    made = [runtime, *runtime.rglob("*")]
    others = {item.name: oct(item.stat().st_mode) for item in made if item.stat().st_mode & 0o007}
    assert not others, "not for others"
    if mask == "077":
        assert not [item for item in made if item.stat().st_mode & 0o077]
