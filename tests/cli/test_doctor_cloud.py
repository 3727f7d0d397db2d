"""``doctor`` on Google Cloud: what is missing there, in the words of Google's servers, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.support.backends import Cloud
from tests.support.refusals import refusing_firestore, refusing_storage

SECRET = "AIzaSyNobodyMaySeeThis"
CONFIG = """
experiment:
  cache:
    backend: {{type: gcp, gcp_project: shop-prod, firebase_api_key: {secret}}}
    object_store: {{type: gcs, bucket: {bucket}}}
prefect: {{project_id: shop}}
"""
FIRESTORE = {
    "a missing role": (
        "PERMISSION_DENIED",
        "Missing or insufficient permissions.",
        ["Cloud Datastore User (roles/datastore.user)", "project shop-prod"],
    ),
    "a wrong project id": (
        "PERMISSION_DENIED",
        "Permission denied on resource project shop-prod.",
        ["gcp_project is right"],
    ),
    "an API that is switched off": (
        "PERMISSION_DENIED",
        "Cloud Firestore API has not been used in project shop-prod before or it is disabled. Enable it by visiting "
        "its page "
        "then retry.",
        ["the Firestore API is enabled"],
    ),
    "no database": (
        "NOT_FOUND",
        "The database (default) does not exist for project shop-prod Please visit "
        "the console to add a Cloud Datastore or Cloud "
        "Firestore database. ",
        ["gcloud firestore databases create", "Native mode", "correct gcp_project"],
    ),
    "a database in Datastore mode": (
        "FAILED_PRECONDITION",
        "The Cloud Firestore API is not available for Firestore in Datastore Mode database "
        "projects/shop-prod/databases/(default).",
        ["Native mode", "gcloud firestore databases create"],
    ),
    "a key that is not accepted": (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        ["credentials_json", "gcloud auth application-default login"],
    ),
}
STORAGE = {
    "a missing role": (
        403,
        "shop@shop-prod.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud "
        "Storage object. Permission 'storage.objects.create' denied on resource (or it may not exist).",
        ["Storage Object Admin", "on the bucket"],
    ),
    "no such bucket": (
        404,
        "The specified bucket does not exist.",
        ["the bucket does not exist", "experiment.cache.object_store.bucket"],
    ),
    "no billing": (
        403,
        "The billing account for the owning project is disabled in state absent",
        ["billing", "console"],
    ),
}


def checks(
    cli: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, firestore: str, storage: str, bucket: str
) -> dict[str, tuple[str, str]]:
    root = make_project(folder / "shop", CONFIG.format(secret=SECRET, bucket=bucket))
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage)
    printed = cli("doctor", "--project", root, "--json")
    assert SECRET not in printed.out + printed.err
    assert printed.code == 1
    return {check["name"]: (check["verdict"], check["found"]) for check in printed.json()}


@pytest.mark.parametrize("case", FIRESTORE)
def test_firestore(cli: Command, tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    code, message, advice = FIRESTORE[case]
    with refusing_firestore(code, message) as address:
        found = checks(cli, tmp_path, monkeypatch, address, cloud.gcs, cloud.bucket)
    verdict, text = found["KV store"]
    assert verdict == "failed"
    assert all(words in text for words in advice), text
    assert found["object store"][0] == "ok"


@pytest.mark.parametrize("case", STORAGE)
def test_storage(cli: Command, tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    status, message, advice = STORAGE[case]
    with refusing_storage(status, message) as url:
        found = checks(cli, tmp_path, monkeypatch, cloud.firestore, url, cloud.bucket)
    verdict, text = found["object store"]
    assert verdict == "failed"
    assert all(words in text for words in advice), text
    assert found["KV store"][0] == "ok"


@pytest.mark.parametrize(
    "content",
    ["no json " + SECRET, '{"type": "service_account", "private_key": "' + SECRET + '", "client_email": "a@b"}', "{}"],
)
def test_a_broken_key(cli: Command, tmp_path: Path, content: str) -> None:
    config = CONFIG.replace("gcp_project: shop-prod", "gcp_project: shop-prod, credentials_json: key.json")
    root = make_project(tmp_path / "shop", config.format(secret=SECRET, bucket="shop-bucket"))
    missing = cli("doctor", "--project", root)
    assert missing.code == 1
    assert "credentials_json is" in missing.out
    assert "which is not a file" in missing.out
    (root / "key.json").write_text(content)
    for arguments in (["doctor"], ["doctor", "--json"], ["doctor", "--count"]):
        printed = cli(*arguments, "--project", root)
        assert printed.code == 1
        assert printed.out.count("credentials_json") >= 2, "of both stores"
        assert "failed" in printed.out
        assert SECRET not in printed.out + printed.err
