"""Firestore for the tests: stores on the suite's emulator, and Google's own client beside them."""

from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.firestore.store import FirestoreKV
from tests.support.shared_servers import address

GCP_PROJECT = "expops-prefect-tests"


def new_project() -> str:
    """The id of a project that nobody has used."""
    return f"p-{uuid.uuid4().hex[:12]}"


def new_store(project: str | None = None, **options: Any) -> FirestoreKV:
    """A store on the suite's emulator, by default in a new project."""
    settings = {"emulator_host": address("firestore_host"), "credentials": None, **options}
    return FirestoreKV(project_id=project or new_project(), gcp_project=GCP_PROJECT, **settings)


def enc(text: str) -> str:
    """The contract's encoding of names in ids."""
    return "p_" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Documents:
    """A project's documents by Google's own client, and the contract's keys in them."""

    def __init__(self, project: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", address("firestore_host"))
            self.client = firestore.Client(project=GCP_PROJECT, credentials=AnonymousCredentials())
        self.root = self.client.collection("mlops_projects").document(project)

    def every(self) -> dict[str, dict[str, Any]]:
        """All documents of the project by their paths below it."""
        found: dict[str, dict[str, Any]] = {}
        start = len(self.root.path) + 1

        def walk(document: Any) -> None:
            for collection in document.collections():
                for inner in collection.list_documents():
                    content = inner.get()
                    if content.exists:
                        found[inner.path[start:]] = content.to_dict()
                    walk(inner)

        walk(self.root)
        return found

    def place(self, key: str) -> tuple[Any, list[str]]:
        """The document of a key, and the path of its field; empty for a whole document."""
        root, (kind, *rest) = self.root, key.split(":")
        if kind == "runs":
            run = root.collection("runs").document(rest[0])
            if rest[1] == "steps":
                return run.collection("steps").document(f"{enc(rest[2])}.{enc(rest[3])}"), []
            if rest[1] == "charts":
                return run.collection("charts_index").document("index"), ["charts", rest[2]]
            return run, rest[1:]
        if kind == "metric":
            return root.collection("metric").document(rest[0]).collection("probes_by_path").document(rest[2]), []
        if kind == "steps":
            return root.collection("step_indices").document(":".join([enc(rest[0]), enc(rest[1]), *rest[2:]])), []
        if kind == "process":
            return root.collection("process_indices").document(":".join([enc(rest[0]), *rest[1:]])), []
        own = "h_" + hashlib.blake2b(key.encode(), digest_size=32).hexdigest() if "/" in key else key
        return root.collection("expops_prefect").document(own), ["value"]

    def read(self, key: str) -> JSON | None:
        """A key's value."""
        document, path = self.place(key)
        value = document.get().to_dict()
        for name in path:
            value = (value or {}).get(name)
        if isinstance(value, dict) and not path:
            value.pop("key", None)
        return value

    def write(self, key: str, value: JSON) -> None:
        """Write a key's value."""
        document, path = self.place(key)
        if path == ["value"]:
            document.set({"key": key, "value": value})
        elif path:
            nested: Any = value
            for name in reversed(path):
                nested = {name: nested}
            field = firestore.Client.field_path(*path)
            document.set({**nested, "last_updated": 1.5}, merge=[field, "last_updated"])
        elif key.startswith("metric:"):
            document.set(value)
        else:
            document.set({**(value or {}), "key": key})
