"""What a run on Google Cloud must not give away stands nowhere in what it writes or says, whether it works or not."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.security.test_secrets import holders
from tests.support.backends import Cloud
from tests.support.processes import FlowProject

pytestmark = pytest.mark.usefixtures("flow_processes")

API_KEY = "AIzaSyPlanted4d1f0b7c2a9e4f3e8b6a5c0d"
FLOW = """
import numpy as np
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task


@task
def load(n):
    ran("load")
    log_metric("n", n)
    log_chart("picture", b"\\x89PNG\\r\\n\\x1a\\n")
    return {"n": n, "array": np.arange(n)}


@flow
def main():
    load(100_000)


if __name__ == "__main__":
    main()
    main()
"""


def _private_key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def _planted(folder: Path, cloud: Cloud, key: str) -> FlowProject:
    section = cloud.section("gcp-gcs")
    section["backend"] |= {"credentials_json": "secrets/firestore.json", "firebase_api_key_file": "secrets/firebase"}
    config = {
        "experiment": {"cache": section},
        "prefect": {"project_id": f"shop-{uuid.uuid4().hex[:8]}", "record": {"final_flush_seconds": 1}},
    }
    shop = FlowProject(folder, yaml.safe_dump(config), environ=cloud.environ())
    shop.write("main.py", FLOW)
    account = {
        "type": "service_account",
        "project_id": "demo-test",
        "private_key": key,
        "client_email": "shop@demo-test.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:9/token",
    }
    shop.write("secrets/firestore.json", json.dumps(account))
    shop.write("secrets/firebase", API_KEY)
    return shop


@pytest.mark.parametrize("works", [True, False], ids=["a run that works", "a key that is broken"])
def test_nothing_of_a_key_is_written_or_said(tmp_path: Path, cloud: Cloud, works: bool) -> None:
    key = _private_key()
    secrets = [API_KEY, *key.split("\n")[1:-2]]
    shop = _planted(tmp_path, cloud, key if works else key.replace("-----END", "broken-----END"))
    if not works:
        # Without emulators the key is used.
        shop.environ = {"FIRESTORE_EMULATOR_HOST": "", "STORAGE_EMULATOR_HOST": ""}
    logs = {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_EXTRA_LOGGERS": "google,urllib3,expops_prefect"}
    done = shop.run("main.py", env=logs).ok()
    assert done.executions == {"load": 1 if works else 2}
    said = [done.output]
    for command in ("doctor", "--json"), ("runs", "list"), ("cache", "list", "--json"):
        said.append(shop.run("-m", "expops_prefect.cli.main", *command).output)
    if works:
        project = shop.project()
        said += [json.dumps([key, value]) for key, value in project.kv.scan("")]
        said += [bytes(project.objects.get(info.key) or b"").decode("latin-1") for info in project.objects.list("")]
        assert len(said) > 12, "records, rows, metrics, a chart, a manifest, a payload"
    else:
        assert "key that cannot be used" in done.output
    places = [shop.root / f".{shop_id}" for shop_id in [_id(shop)]]
    places += [tmp_path / "prefect-home", Path(os.environ["EXPOPS_TEST_FOLDER"]) / "prefect-server"]
    for secret in secrets:
        assert not [text for text in said if secret in text]
        for place in places:
            assert holders(place, secret) == []
    assert holders(shop.root / "secrets", API_KEY), "the search finds what is there"


def _id(shop: FlowProject) -> str:
    content = yaml.safe_load((shop.root / "configs" / "project_config.yaml").read_text())
    return str(content["prefect"]["project_id"])
