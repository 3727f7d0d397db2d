"""Objects in S3, on a real server."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.store import CloudObjects
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects, object_machine
from tests.support.cloud_servers import AWS_KEYS, REGION, s3_client
from tests.support.shared_servers import address

pytestmark = pytest.mark.usefixtures("s3_endpoint")


def _name(key: str) -> str:
    return key.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A")


class Bucket:
    """The same objects by boto3."""

    def __init__(self, endpoint: str, bucket: str, prefix: str) -> None:
        self.client = s3_client(endpoint)
        self.bucket = bucket
        self.prefix = prefix

    def get(self, key: str) -> bytes | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + _name(key))
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return bytes(answer["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + _name(key), Body=data)

    def keys(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return {item["Key"][len(self.prefix) :] for page in pages for item in page.get("Contents", [])}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(s3_endpoint: str, s3_bucket: str) -> CloudObjects:
    return CloudObjects(S3(s3_bucket, endpoint=s3_endpoint, region=REGION), prefix="shop/")


@pytest.fixture
def raw(s3_endpoint: str, s3_bucket: str) -> RawObjects:
    return Bucket(s3_endpoint, s3_bucket, "shop/")


class TestConformance(ObjectConformance):
    def name_of(self, key: str) -> str:
        return _name(key)


def _of_machine() -> CloudObjects:
    os.environ |= AWS_KEYS
    endpoint = address("s3_endpoint")
    copies = Path(tempfile.mkdtemp(dir=os.environ["EXPOPS_TEST_FOLDER"]))
    service = S3(_bucket_of_machine(endpoint), endpoint=endpoint, region=REGION)
    return CloudObjects(service, prefix=f"{uuid.uuid4().hex}/", copies=copies)


def _bucket_of_machine(endpoint: str) -> str:
    client = s3_client(endpoint)
    try:
        client.create_bucket(Bucket="machines", CreateBucketConfiguration={"LocationConstraint": REGION})
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return "machines"


TestMachine = object_machine(_of_machine).TestCase
