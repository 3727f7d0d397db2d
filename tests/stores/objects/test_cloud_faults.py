"""Objects in S3 and in Azure when something is wrong: answers, bytes, bucket, region, credentials, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expops_prefect.errors import ObjectStoreError, ObjectStoreRefusedError
from expops_prefect.stores.objects.cloud import store as store_module
from expops_prefect.stores.objects.cloud.azure import Azure
from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.store import CloudObjects
from tests.stores.objects.clouds import CloudCase, cloud_case
from tests.support.cloud_proxy import CloudProxy, cloud_proxy
from tests.support.cloud_servers import AZURE_KEY, REGION, connection_string
from tests.support.proxy import Proxy
from tests.support.server import free_port

pytestmark = pytest.mark.usefixtures("s3_endpoint", "azure_endpoint")

LARGE = 33 << 20  # more than is uploaded or downloaded in one piece


@pytest.fixture(params=["s3", "azure"])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CloudCase:
    return cloud_case(request.param, request, monkeypatch)


@pytest.fixture
def proxy(case: CloudCase) -> Iterator[CloudProxy]:
    with cloud_proxy(case.host) as server:
        yield server


@pytest.fixture
def store(case: CloudCase, proxy: CloudProxy, tmp_path: Path) -> CloudObjects:
    return case.store(proxy.url, copies=tmp_path / "copies")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# What is usual ---------------------------------------------------------------------------------


def test_a_small_object_takes_one_request_and_one_that_exists_two_more(case: CloudCase) -> None:
    store = case.store()
    assert store.create("k", [b"value"]) is not None
    assert dict(store.calls) == {"writes": 1, "bytes_written": 5}
    store.stat("none")
    store.calls.clear()
    assert store.create("k", [b"VALUE"]) is None
    assert dict(store.calls) == {"writes": 1, "bytes_written": 5, "stats": 2}
    assert store.get("k") == b"value"


@pytest.mark.parametrize("size", [0, 5, LARGE])
def test_an_object_comes_once_to_a_machine(store: CloudObjects, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert store.create("cache/payloads/big", [data[:3], data[3:]]) is not None
    assert store.create("cache/payloads/big", [data]) is None
    assert store.path("cache/payloads/big") is None
    copy = store.fetch("cache/payloads/big")
    assert copy is not None
    assert copy.read_bytes() == data
    assert copy.stat().st_mode & 0o777 == 0o440 & copy.parent.stat().st_mode
    assert store.path("cache/payloads/big") == copy
    reads = store.calls["bytes_read"]
    assert store.fetch("cache/payloads/big") == copy
    assert store.calls["bytes_read"] == reads == size
    assert files(tmp_path / "copies") == ["big"]
    assert store.fetch("cache/payloads/none") is None


def test_two_projects_and_two_prefixes_in_one_bucket_never_meet(case: CloudCase) -> None:
    service = case.service()
    stores = [CloudObjects(service, prefix=prefix) for prefix in ("shop/", "shop2/", "team/ml/shop/", "team/")]
    for store in stores:
        store.put("cache/a", [store.describe().encode()])
    for store in stores:
        assert store.get("cache/a") == store.describe().encode()
        assert [info.key for info in store.list("cache/")] == ["cache/a"]
    assert stores[2].uri("cache/a") == f"{service.scheme}://{case.bucket}/team/ml/shop/cache/a"


def test_a_copy_does_not_outlive_its_object(store: CloudObjects) -> None:
    def fetched() -> bytes | None:
        copy = store.fetch("k")
        return None if copy is None else copy.read_bytes()

    store.put("k", [b"one"])
    assert fetched() == b"one"
    store.put("k", [b"two"])
    assert fetched() == b"two"
    assert store.create("k", [b"three"]) is not None
    assert fetched() == b"three"
    info = store.stat("k")
    assert info is not None
    assert store.delete("k", stamp=info.stamp)
    assert fetched() is None


def test_an_object_that_s3_does_not_copy_must_be_written(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cloud_case("s3", request, monkeypatch).store()
    store.put("k", [b"12345"])
    monkeypatch.setattr(store_module, "_MOST_COPIED", 4)
    assert store.refresh("k") is None
    assert store.get("k") == b"12345"


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from expops_prefect.stores.objects.cloud.azure import Azure
from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.store import CloudObjects
kind, told, bucket, copies = sys.argv[1:]
service = Azure(bucket, connection_string=told) if kind == "azure" else S3(bucket, endpoint=told, region="eu-west-1")
store = CloudObjects(service, prefix="p/", copies=Path(copies))
store.put("warm", [b"x" * (20 << 20)]); store.get("warm")
array = np.ones(300 << 17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.create("big", [array.data])
stored = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert store.fetch("big").stat().st_size == array.nbytes
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((stored - before) >> 10, (loaded - before) >> 10)
"""


@pytest.mark.nightly
def test_memory_stays_bounded(case: CloudCase, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, case.name, case.told, case.bucket, str(tmp_path / "copies")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    storing, loading = map(int, done.stdout.split())
    assert storing < 150, "MiB above the 300 MiB array"
    assert loading < 250


# Faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, LARGE], ids=["in one piece", "in parallel ranges"])
def test_a_download_that_breaks_off_is_tried_again(
    case: CloudCase, proxy: CloudProxy, store: CloudObjects, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    case.store().put("k", [data])
    proxy.breaks = 1
    copy = store.fetch("k")
    assert copy is not None
    assert copy.read_bytes() == data
    proxy.breaks = 1
    assert store.get("k") == data
    assert proxy.breaks == 0
    short = case.store(proxy.url, copies=tmp_path / "other", timeout=0.5)
    proxy.breaks = 1000
    for read in (short.get, short.fetch):
        with pytest.raises(ObjectStoreError, match="cannot be reached"):
            read("k")
    assert files(tmp_path / "other") == []


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(
    case: CloudCase, proxy: CloudProxy, store: CloudObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = os.urandom(LARGE), os.urandom(LARGE)
    case.store().put("k", [first])
    passed_on, replaced = proxy.pass_on, threading.Event()

    def replace(method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        if method == "GET" and not replaced.is_set():
            replaced.set()
            case.store().put("k", [second])
        return passed_on(method, path, headers, body)

    monkeypatch.setattr(proxy, "pass_on", replace)
    copy = store.fetch("k")
    assert copy is not None
    assert copy.read_bytes() == second


CALLS: list[Callable[[CloudObjects], object]] = [
    lambda store: store.put("k", [b"v"]),
    lambda store: store.create("k", [b"v"]),
    lambda store: store.create("k", [b"v" * (17 << 20)]),
    lambda store: store.get("k"),
    lambda store: store.stat("k"),
    lambda store: store.fetch("k"),
    lambda store: store.refresh("k"),
    lambda store: store.delete("k"),
    lambda store: store.delete("k", stamp="x"),
    lambda store: list(store.list("")),
    lambda store: store.ping(),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_is_no_absence(
    case: CloudCase, tmp_path: Path, call: Callable[[CloudObjects], object]
) -> None:
    service = case.service(bucket="no-such-bucket")
    store = CloudObjects(service, prefix="p/", copies=tmp_path / "copies")
    for _ in range(2):
        with pytest.raises(
            ObjectStoreRefusedError, match=rf"the {service.noun} does not exist; .*object_store\.{service.noun}"
        ):
            call(store)


def test_an_object_that_is_not_there_asks_for_the_bucket_once(store: CloudObjects) -> None:
    for _ in range(3):
        assert store.get("k") is None
        assert store.stat("k") is None
    assert dict(store.calls) == {"reads": 3, "stats": 3, "lists": 1}


@pytest.mark.parametrize(
    ("method", "status", "code", "call", "words", "refused"),
    [
        ("GET", 403, "AccessDenied", lambda store: store.get("k"), "permission denied .*allow ", True),
        ("HEAD", 403, "", lambda store: store.stat("k"), "permission denied .*allow ", True),
        ("PUT", 503, "SlowDown", lambda store: store.put("k", [b"v"]), "still answers 503 .*try again later", False),
        ("GET", 500, "InternalError", lambda store: store.get("k"), "still answers 500 .*try again later", False),
        ("PUT", 400, "Odd", lambda store: store.put("k", [b"v"]), "answers 400 Odd", False),
        ("DELETE", 403, "AccessDenied", lambda store: store.delete("k"), "permission denied .*allow ", True),
    ],
)
def test_answers_are_explained(
    case: CloudCase,
    proxy: CloudProxy,
    method: str,
    status: int,
    code: str,
    call: Callable[[CloudObjects], object],
    words: str,
    refused: bool,
) -> None:
    case.store().put("k", [b"v"])
    store = case.store(proxy.url, timeout=1)
    proxy.refuse, proxy.status = method, status
    proxy.told = f"<Error><Code>{code}</Code><Message>PLANTED</Message></Error>".encode() if code else b""
    with pytest.raises(ObjectStoreError, match=words) as caught:
        call(store)
    assert isinstance(caught.value, ObjectStoreRefusedError) == refused
    assert "PLANTED" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "status", "code", "words"),
    [
        ("s3", 400, "ExpiredToken", "credentials have expired; renew them"),
        ("s3", 403, "InvalidAccessKeyId", "access key or its secret is not valid; set AWS_ACCESS_KEY_ID"),
        ("s3", 403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ("s3", 301, "PermanentRedirect", "the bucket is in another region; set region"),
        ("s3", 501, "NotImplemented", "does not know conditional writes"),
        ("azure", 403, "AuthenticationFailed", "expired or not valid; set credentials_file"),
        ("azure", 403, "AuthorizationPermissionMismatch", "permission denied; give the role Storage Blob Data"),
        ("azure", 403, "AccountIsDisabled", "the storage account is disabled"),
    ],
)
def test_a_clouds_own_answers_are_explained(
    name: str,
    status: int,
    code: str,
    words: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = cloud_case(name, request, monkeypatch)
    with cloud_proxy(case.host) as proxy:
        proxy.refuse, proxy.status = "PUT", status
        proxy.told = f"<Error><Code>{code}</Code></Error>".encode()
        with pytest.raises(ObjectStoreError, match=words):
            case.store(proxy.url, timeout=1).put("k", [b"v"])


def test_the_region_that_s3_names_is_passed_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cloud_case("s3", request, monkeypatch)
    with cloud_proxy(case.host) as proxy:
        proxy.refuse, proxy.status = "PUT", 400
        proxy.told = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-south-1</Region></Error>"
        with pytest.raises(ObjectStoreRefusedError, match="in another region: set region to ap-south-1"):
            case.store(proxy.url, timeout=1).put("k", [b"v"])


def test_a_server_that_is_away_or_silent(case: CloudCase) -> None:
    silent = Proxy(case.host)
    silent.switch("hang")
    calls: list[Callable[[CloudObjects], object]] = [
        lambda store: store.put("k", [b"1"]),
        lambda store: store.get("k"),
        lambda store: store.stat("k"),
        lambda store: list(store.list("")),
    ]
    try:
        for call in calls:
            with pytest.raises(ObjectStoreError, match=r"cannot be reached.*check the network"):
                call(case.store(f"http://127.0.0.1:{free_port()}", timeout=0.5))
        with pytest.raises(ObjectStoreError, match=r"cannot be reached \(timed out\)"):
            case.store(silent.address, timeout=0.5).stat("k")
    finally:
        silent.close()


def test_folders_of_a_console_are_no_objects(store: CloudObjects, case: CloudCase) -> None:
    store.put("cache/k", [b"v"])
    other = CloudObjects(case.service(), prefix="shop/cache/.tmp-x/")
    other.put("unfinished", [b"v"])
    assert [info.key for info in store.list("")] == ["cache/k"]


# Credentials -----------------------------------------------------------------------------------


def test_a_key_in_a_file_of_aws(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cloud_case("s3", request, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    file = tmp_path / "keys"
    file.write_text(
        "[default]\naws_access_key_id = mine\naws_secret_access_key = PLANTED\n[b]\naws_access_key_id = x\n"
    )
    with cloud_proxy(case.host) as proxy:
        signed: list[str] = []
        passed_on = proxy.pass_on

        def listen(method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
            signed.extend(value for name, value in headers.items() if name.lower() == "authorization")
            return passed_on(method, path, headers, body)

        monkeypatch.setattr(proxy, "pass_on", listen)
        service = S3(case.bucket, endpoint=proxy.url, region=REGION, credentials_file=file)
        CloudObjects(service, prefix="p/").put("k", [b"v"])
        assert all("Credential=mine/" in value for value in signed)
        assert signed
    for profile, words in (
        ("b", r"no aws_access_key_id and aws_secret_access_key in its section \[b\]"),
        ("c", "no aws"),
    ):
        lacking = CloudObjects(S3("any", profile=profile, credentials_file=file), prefix="p/")
        with pytest.raises(ObjectStoreError, match=words) as caught:
            lacking.stat("k")
        assert "PLANTED" not in "".join(traceback.format_exception(caught.value)) + repr(lacking)


@pytest.mark.parametrize("content", ["PLANTED", "[default]\nPLANTED", "AccountName=a;AccountKe=PLANTED", None])
@pytest.mark.parametrize("kind", [S3, Azure])
def test_a_file_of_credentials_that_cannot_be_used(
    kind: type[S3] | type[Azure], content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "secrets"
    if content is not None:
        file.write_text(content)
    store = CloudObjects(kind("bucket", credentials_file=file), prefix="p/")
    with pytest.raises(ObjectStoreError, match="secrets") as caught:
        store.ping()
    shown, error = repr(store) + store.describe(), caught.value
    assert "PLANTED" not in "".join(traceback.format_exception(error)) + shown
    assert error.__context__ is None or "PLANTED" not in str(error.__context__)


def test_a_profile_asks_boto3(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cloud_case("s3", request, monkeypatch)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    config = tmp_path / "config"
    told = tmp_path / "told.json"
    told.write_text('{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}')
    command = f"cat {told}"
    config.write_text(f"[profile ci]\nregion = {REGION}\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    CloudObjects(S3(case.bucket, endpoint=case.endpoint, profile="ci"), prefix="p/").put("k", [b"v"])
    unknown = CloudObjects(S3(case.bucket, endpoint=case.endpoint, profile="other"), prefix="p/")
    with pytest.raises(ObjectStoreError, match="the profile other of AWS' shared files cannot be used"):
        unknown.stat("k")
    monkeypatch.setattr("expops_prefect.stores.objects.cloud.s3.find_spec", lambda name: None)
    with pytest.raises(ObjectStoreError, match="pip install boto3"):
        CloudObjects(S3(case.bucket, endpoint=case.endpoint, profile="ci"), prefix="p/").stat("k")


def test_a_shared_signature_shows_nowhere(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, azure_endpoint: str
) -> None:
    case = cloud_case("azure", request, monkeypatch)
    text = f"BlobEndpoint={azure_endpoint};AccountName=devstoreaccount1;SharedAccessSignature=sv=2021-08-06&sig=PLANTED"
    store = CloudObjects(Azure(case.bucket, connection_string=text), prefix="p/", timeout=2)
    assert "PLANTED" not in repr(store) + repr(Azure(case.bucket, connection_string=text))
    with pytest.raises(ObjectStoreError) as caught:
        store.put("k", [b"v"])
    error: BaseException | None = caught.value
    while error is not None:
        assert "PLANTED" not in "".join(traceback.format_exception(error)) + repr(error)
        error = error.__cause__ or error.__context__


def test_a_key_that_is_wrong(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, azure_endpoint: str
) -> None:
    case = cloud_case("azure", request, monkeypatch)
    wrong = AZURE_KEY[:10][::-1] + AZURE_KEY[10:]
    service = Azure(case.bucket, connection_string=connection_string(azure_endpoint, wrong))
    with pytest.raises(ObjectStoreRefusedError, match=r"permission denied|expired or not valid") as caught:
        CloudObjects(service, prefix="p/", timeout=2).put("k", [b"v"])
    assert wrong not in "".join(traceback.format_exception(caught.value))


# Processes and threads -------------------------------------------------------------------------

FORKS = """
import os, signal, sys
from pathlib import Path
from expops_prefect.errors import NameRefusedError
from expops_prefect.stores.objects.cloud.azure import Azure
from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.store import CloudObjects

kind, told, bucket, used, copies = sys.argv[1:]
service = Azure(bucket, connection_string=told) if kind == "azure" else S3(bucket, endpoint=told, region="eu-west-1")
store = CloudObjects(service, prefix="p/", copies=Path(copies))
if used == "used":
    store.put("k", [b"v"])
child = os.fork()
if child == 0:
    signal.alarm(40)  # ends a child that hangs
    created = store.create("new", [memoryview(b"ab"), bytearray(b"c")])
    good = created is not None and store.get("new") == b"abc" and store.fetch("new").read_bytes() == b"abc"
    good = good and [info.key for info in store.list("n")] == ["new"] and store.calls["writes"] >= 1
    try:
        store.get("../x")
    except NameRefusedError:
        good = good and store.delete("new")
    os._exit(0 if good else 1)
status = os.waitpid(child, 0)[1]
store.put("k", [b"after"])
print(status, store.get("k"), store.get("new"))
"""


@pytest.mark.parametrize("used", ["used", "unused"])
def test_a_forked_child_works(case: CloudCase, used: str, tmp_path: Path) -> None:
    # In a process of its own: the suite's may have threads of other libraries, which forks do not agree with.
    done = subprocess.run(
        [sys.executable, "-c", FORKS, case.name, case.told, case.bucket, used, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.stdout.split() == ["0", "b'after'", "None"], done.stderr


def test_threads_share_a_store_and_its_counts(case: CloudCase) -> None:
    store = case.store()
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(10):
            data = f"{number} {turn}".encode()
            store.put(f"k{number}", [data])
            if store.get(f"k{number}") != data:
                wrong.append(data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (store.calls["reads"], store.calls["writes"]) == (80, 80)
    assert store.calls["bytes_read"] == store.calls["bytes_written"]
