"""Objects in a bucket, on a real GCS server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.gcs.store import GCSObjects
from expops_prefect.stores.objects.multi_buffer_reader import PartsReader
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects, object_machine
from tests.support.server import free_port
from tests.support.shared_servers import address

pytestmark = pytest.mark.usefixtures("gcs_endpoint")

ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}


def _name(key: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in key)


class Bucket:
    """The same objects by plain HTTP."""

    def __init__(self, endpoint: str, bucket: str, prefix: str) -> None:
        self.url = f"{endpoint}/storage/v1/b/{bucket}/o"
        self.upload = f"{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name="
        self.prefix = prefix

    def _open(self, url: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def get(self, key: str) -> bytes | None:
        try:
            return self._open(f"{self.url}/{urllib.parse.quote(self.prefix + _name(key), safe='')}?alt=media")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def write(self, key: str, data: bytes) -> None:
        self._open(self.upload + urllib.parse.quote(self.prefix + _name(key), safe=""), data)

    def keys(self) -> set[str]:
        listed: dict[str, Any] = json.loads(self._open(f"{self.url}?prefix={urllib.parse.quote(self.prefix)}"))
        return {item["name"][len(self.prefix) :] for item in listed.get("items", [])}


@pytest.fixture
def store(gcs_endpoint: str, gcs_bucket: str) -> GCSObjects:
    return GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=gcs_endpoint)


@pytest.fixture
def raw(gcs_endpoint: str, gcs_bucket: str) -> RawObjects:
    return Bucket(gcs_endpoint, gcs_bucket, "shop/")


class TestConformance(ObjectConformance):
    # fsouza's server takes no notice of it: a test with a proxy shows that it is sent.
    removals_are_atomic = False

    def name_of(self, key: str) -> str:
        return _name(key)


def _of_machine() -> GCSObjects:
    endpoint = address("gcs_endpoint")
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=test",
        data=b'{"name": "machines"}',
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # exists already
            raise
    copies = Path(tempfile.mkdtemp(dir=os.environ["EXPOPS_TEST_FOLDER"]))
    return GCSObjects(bucket="machines", prefix=f"{uuid.uuid4().hex}/", endpoint=endpoint, copies=copies)


TestMachine = object_machine(_of_machine).TestCase


def test_two_projects_in_one_bucket_never_meet(gcs_endpoint: str, gcs_bucket: str) -> None:
    one = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=gcs_endpoint)
    other = GCSObjects(bucket=gcs_bucket, prefix="shop2/", endpoint=gcs_endpoint)
    one.put("cache/a", [b"one"])
    other.put("cache/a", [b"other"])
    assert one.get("cache/a") == b"one"
    assert [info.key for info in one.list("")] == ["cache/a"]
    assert one.delete("cache/a")
    assert other.get("cache/a") == b"other"
    assert one.uri("cache/a") == f"gs://{gcs_bucket}/shop/cache/a"


def test_a_small_object_is_written_in_one_request(store: GCSObjects) -> None:
    assert store.create("k", [b"value"]) is not None
    assert dict(store.calls) == {"writes": 1, "bytes_written": 5}
    assert store.create("k", [b"value"]) is None
    assert store.calls["bytes_written"] == 5


@pytest.mark.parametrize("size", [5, 40 << 20], ids=["in one piece", "in parallel ranges"])
def test_a_large_object_comes_once_to_a_machine(gcs_endpoint: str, gcs_bucket: str, tmp_path: Path, size: int) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=gcs_endpoint, copies=tmp_path / "copies")
    data = os.urandom(size)
    assert store.create("cache/payloads/big", [data[:3], data[3:]]) is not None
    assert store.path("cache/payloads/big") is None
    copy = store.fetch("cache/payloads/big")
    assert copy is not None
    assert copy.read_bytes() == data
    assert copy.stat().st_mode & 0o777 == 0o440 & copy.parent.stat().st_mode
    assert store.path("cache/payloads/big") == copy
    reads = store.calls["bytes_read"]
    assert store.fetch("cache/payloads/big") == copy
    assert store.calls["bytes_read"] == reads == size
    assert sorted(path.name for path in (tmp_path / "copies").rglob("*") if path.is_file()) == ["big"]
    assert store.fetch("cache/payloads/none") is None


PEAK = """
import os, resource, sys
from pathlib import Path
import numpy as np
from expops_prefect.stores.objects.gcs.store import GCSObjects
endpoint, bucket, copies = sys.argv[1:]
store = GCSObjects(bucket=bucket, prefix="p/", endpoint=endpoint, copies=Path(copies))
store.put("warm", [b"x" * (9 << 20)]); store.get("warm")
array = np.ones(300 << 17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.create("big", [array.data])
stored = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert store.fetch("big").stat().st_size == array.nbytes
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((stored - before) >> 10, (loaded - before) >> 10)
"""


def test_memory_stays_bounded(gcs_endpoint: str, gcs_bucket: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, gcs_endpoint, gcs_bucket, str(tmp_path / "copies")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    storing, loading = map(int, done.stdout.split())
    assert storing < 150, "MiB above the 300 MiB array"
    assert loading < 250


def test_a_bucket_that_is_not_there(gcs_endpoint: str) -> None:
    store = GCSObjects(bucket="no-such-bucket", prefix="p/", endpoint=gcs_endpoint)
    with pytest.raises(ObjectStoreError, match=r"bucket does not exist; create it, or correct .*object_store\.bucket"):
        store.put("k", [b""])
    with pytest.raises(ObjectStoreError, match="bucket does not exist"):
        store.ping()


def test_a_server_that_is_away(tmp_path: Path) -> None:
    store = GCSObjects(bucket="any", prefix="p/", endpoint=f"http://127.0.0.1:{free_port()}", timeout=1)
    calls = (
        lambda: store.put("k", [b"1"]),
        lambda: store.get("k"),
        lambda: store.stat("k"),
        lambda: list(store.list("")),
    )
    for call in calls:
        with pytest.raises(ObjectStoreError, match="cannot be reached"):
            call()


def test_credentials_never_show(tmp_path: Path) -> None:
    secret = "PLANTED-SECRET-KEY"
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"type": "service_account", "private_key": secret, "client_email": "a@b.c"}))
    store = GCSObjects(bucket="any", prefix="p/", credentials=str(file))
    with pytest.raises(ObjectStoreError) as caught:
        store.ping()
    said = f"{caught.value} {caught.value.__cause__} {store!r} {store.describe()}"
    assert secret not in said
    assert "credentials" in said


def test_parts_are_read_as_one_file() -> None:
    reader = PartsReader([b"ab", b"", bytearray(b"cde"), memoryview(b"f")])
    assert reader.size == 6
    assert reader.read(3) == b"abc"
    assert reader.tell() == 3
    assert reader.read() == b"def"
    assert reader.read(1) == b""
    assert reader.seek(1) == 1
    assert reader.read(2) == b"bc"
    assert reader.seek(-1, 2) == 5
    assert reader.read() == b"f"
    assert reader.crc32c() == google_crc32c.value(b"abcdef")


def test_a_stretch_of_parts_is_not_copied_and_can_be_sent_again() -> None:
    large = os.urandom(3 << 20)
    reader = PartsReader([b"ab", large, b"c"])
    reader.stream_from(10)
    assert reader.read(2) == b"ab"
    stretch = reader.read(2 << 20)
    assert (len(stretch), reader.tell()) == (2 << 20, 2 + (2 << 20))
    for _ in range(2):
        pieces = list(stretch)
        assert {piece.obj is large for piece in pieces} == {True}
        assert max(map(len, pieces)) <= 1 << 20
        assert b"".join(pieces) == large[: 2 << 20]
    rest = reader.read()
    assert len(rest) == (1 << 20) + 1
    assert b"".join(rest) == large[2 << 20 :] + b"c"
    assert reader.crc32c() == google_crc32c.value(b"ab" + large + b"c")
