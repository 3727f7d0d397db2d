"""Objects in Azure Blob Storage, on Azurite."""

from __future__ import annotations

import os
import re
import tempfile
import urllib.error
import urllib.parse
import uuid
from html import unescape
from pathlib import Path

import pytest

from expops_prefect.stores.objects.cloud.azure import Azure
from expops_prefect.stores.objects.cloud.store import CloudObjects
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects, object_machine
from tests.support.cloud_servers import azure_request, connection_string, new_azure_container
from tests.support.shared_servers import address

pytestmark = pytest.mark.usefixtures("azure_endpoint")


def _name(key: str) -> str:
    return key.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A")


class Container:
    """The same objects by plain HTTP."""

    def __init__(self, endpoint: str, container: str, prefix: str) -> None:
        self.endpoint = endpoint
        self.container = container
        self.prefix = prefix

    def _path(self, key: str) -> str:
        return f"{self.container}/{urllib.parse.quote(self.prefix + _name(key))}"

    def get(self, key: str) -> bytes | None:
        try:
            return azure_request(self.endpoint, "GET", self._path(key))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def write(self, key: str, data: bytes) -> None:
        azure_request(self.endpoint, "PUT", self._path(key), data=data)

    def keys(self) -> set[str]:
        query = f"comp=list&prefix={urllib.parse.quote(self.prefix, safe='')}&restype=container"
        listed = azure_request(self.endpoint, "GET", self.container, query).decode()
        return {unescape(name)[len(self.prefix) :] for name in re.findall(r"<Name>([^<]*)</Name>", listed)}


@pytest.fixture
def store(azure_endpoint: str, azure_container: str) -> CloudObjects:
    service = Azure(azure_container, connection_string=connection_string(azure_endpoint))
    return CloudObjects(service, prefix="shop/")


@pytest.fixture
def raw(azure_endpoint: str, azure_container: str) -> RawObjects:
    return Container(azure_endpoint, azure_container, "shop/")


class TestConformance(ObjectConformance):
    def name_of(self, key: str) -> str:
        return _name(key)


def _of_machine() -> CloudObjects:
    endpoint = address("azure_endpoint")
    service = Azure(new_azure_container(endpoint), connection_string=connection_string(endpoint))
    copies = Path(tempfile.mkdtemp(dir=os.environ["EXPOPS_TEST_FOLDER"]))
    return CloudObjects(service, prefix=f"{uuid.uuid4().hex}/", copies=copies)


TestMachine = object_machine(_of_machine).TestCase
