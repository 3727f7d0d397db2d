from __future__ import annotations

from collections.abc import Iterator

import pytest

from expops_prefect.stores.kv.firestore.store import FirestoreKV
from tests.support.firestore import Documents, new_project, new_store


@pytest.fixture
def project() -> str:
    """A project's id in Firestore."""
    return new_project()


@pytest.fixture
def store(project: str) -> Iterator[FirestoreKV]:
    """Its store; tests of other stores have one of their own."""
    made = new_store(project)
    yield made
    made.close()


@pytest.fixture
def documents(project: str) -> Iterator[Documents]:
    """Its documents, read and written without the store."""
    made = Documents(project)
    yield made
    made.client.close()
