"""Both clouds, for tests that run on each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from expops_prefect.stores.objects.cloud.azure import Azure
from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.service import Service
from expops_prefect.stores.objects.cloud.store import CloudObjects
from tests.support import cloud_servers
from tests.support.cloud_servers import AWS_KEYS, REGION


@dataclass(frozen=True)
class CloudCase:
    """One of the clouds, with a bucket of the test's own.

    Attributes:
        name: ``s3`` or ``azure``.
        endpoint: the URL of its server.
        bucket: the bucket.
    """

    name: str
    endpoint: str
    bucket: str

    @property
    def host(self) -> str:
        """The server's URL without a path."""
        return self.endpoint.removesuffix(urlsplit(self.endpoint).path)

    @property
    def told(self) -> str:
        """What another process needs to find the server."""
        return self.endpoint if self.name == "s3" else cloud_servers.connection_string(self.endpoint)

    def service(self, host: str | None = None, bucket: str | None = None) -> Service:
        """The bucket, behind another host if one is given."""
        endpoint = (host or self.host) + urlsplit(self.endpoint).path
        named = bucket or self.bucket
        if self.name == "s3":
            return S3(named, endpoint=endpoint, region=REGION)
        return Azure(named, connection_string=cloud_servers.connection_string(endpoint))

    def store(
        self, host: str | None = None, *, copies: Path | None = None, timeout: float = 10.0, life: float = 60.0
    ) -> CloudObjects:
        """A store in the bucket."""
        return CloudObjects(self.service(host), prefix="shop/", copies=copies, timeout=timeout, life=life)


def cloud_case(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CloudCase:
    """A case with a new bucket, and credentials in the environment."""
    endpoint: str = request.getfixturevalue(f"{name}_endpoint")
    if name == "s3":
        for variable, value in AWS_KEYS.items():
            monkeypatch.setenv(variable, value)
        return CloudCase(name, endpoint, cloud_servers.new_s3_bucket(endpoint))
    return CloudCase(name, endpoint, cloud_servers.new_azure_container(endpoint))
