"""Objects in a bucket when something is wrong: bytes, answers, bucket, credentials, forks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import traceback
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.gcs.store import GCSObjects
from tests.support.gcs_proxy import GCSProxy, gcs_proxy
from tests.support.server import free_port

LARGE = 33 << 20  # more than what is downloaded in one piece


@pytest.fixture
def proxy(gcs_endpoint: str) -> Iterator[GCSProxy]:
    with gcs_proxy(gcs_endpoint) as server:
        yield server


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def store(proxy: GCSProxy, gcs_bucket: str, copies: Path) -> GCSObjects:
    return GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url, copies=copies, timeout=10)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [1000, LARGE], ids=["in one piece", "in parallel ranges"])
def test_damage_on_the_way_is_noticed(proxy: GCSProxy, gcs_bucket: str, copies: Path, size: int) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url, copies=copies)
    data = os.urandom(size)
    store.put("k", [data])
    proxy.damage = True
    for read in (store.get, store.fetch):
        with pytest.raises(ObjectStoreError, match="another checksum"):
            read("k")
    assert files(copies) == []
    proxy.damage = False
    copy = store.fetch("k")
    assert copy is not None
    assert copy.read_bytes() == data == store.get("k")


def test_damage_on_the_way_to_the_bucket_is_noticed(proxy: GCSProxy, gcs_bucket: str) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url)
    data = os.urandom(9 << 20)
    proxy.damage_uploads = True
    with pytest.raises(ObjectStoreError):
        store.create("k", [data])
    assert store.get("k") is None, "nothing of it stays"
    proxy.damage_uploads = False
    assert store.create("k", [data]) is not None
    assert store.get("k") == data


@pytest.mark.parametrize("size", [1000, LARGE], ids=["in one piece", "in parallel ranges"])
def test_a_download_that_breaks_off_is_tried_again(proxy: GCSProxy, gcs_bucket: str, copies: Path, size: int) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url, copies=copies)
    data = os.urandom(size)
    store.put("k", [data])
    proxy.breaks = 1
    copy = store.fetch("k")
    assert copy is not None
    assert copy.read_bytes() == data
    proxy.breaks = 1
    assert store.get("k") == data
    assert proxy.breaks == 0
    short = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url, copies=copies / "other", timeout=0.5)
    proxy.breaks = 1000
    for read in (short.get, short.fetch):
        with pytest.raises(ObjectStoreError, match="cannot be reached"):
            read("k")
    assert files(copies / "other") == []


def test_a_copy_does_not_outlive_its_object(store: GCSObjects) -> None:
    def fetched() -> bytes | None:
        copy = store.fetch("k")
        return None if copy is None else copy.read_bytes()

    store.put("k", [b"one"])
    assert fetched() == b"one"
    store.put("k", [b"two"])
    assert fetched() == b"two"
    assert store.create("k", [b"three"]) is not None
    assert fetched() == b"three"
    store.delete("k")
    assert fetched() is None


def test_a_large_object_that_is_there_is_not_sent_again(store: GCSObjects) -> None:
    data = b"x" * (9 << 20)
    assert store.create("k", [data]) is not None
    assert store.create("k", [data]) is None
    assert store.calls["bytes_written"] == len(data)
    assert store.create("k", [data, b"y"]) is not None
    assert store.get("k") == data + b"y"


def test_folders_of_the_console_are_no_objects(store: GCSObjects, proxy: GCSProxy, gcs_bucket: str) -> None:
    store.put("cache/k", [b"v"])
    name = urllib.parse.quote("shop/cache/", safe="")
    url = f"{proxy.url}/upload/storage/v1/b/{gcs_bucket}/o?uploadType=media&name={name}"
    urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST"), timeout=10).close()
    assert [info.key for info in store.list("")] == ["cache/k"]


CALLS: list[Callable[[GCSObjects], object]] = [
    lambda store: store.put("k", [b"v"]),
    lambda store: store.create("k", [b"v"]),
    lambda store: store.create("k", [b"v" * (9 << 20)]),
    lambda store: store.get("k"),
    lambda store: store.stat("k"),
    lambda store: store.fetch("k"),
    lambda store: store.delete("k"),
    lambda store: list(store.list("")),
    lambda store: store.ping(),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_is_no_absence(
    gcs_endpoint: str, copies: Path, call: Callable[[GCSObjects], object]
) -> None:
    store = GCSObjects(bucket="no-such-bucket", prefix="p/", endpoint=gcs_endpoint, copies=copies)
    for _ in range(2):
        with pytest.raises(ObjectStoreError, match=r"the bucket does not exist; .*object_store\.bucket"):
            call(store)


def test_an_object_that_is_not_there_asks_for_the_bucket_once(store: GCSObjects) -> None:
    for _ in range(3):
        assert store.get("k") is None
        assert store.stat("k") is None
    assert dict(store.calls) == {"reads": 3, "stats": 3, "lists": 1}


@pytest.mark.parametrize(
    ("method", "status", "call", "words"),
    [
        ("GET", 403, lambda store: store.get("k"), "permission denied; .*Storage Object Admin"),
        ("GET", 503, lambda store: store.get("k"), "still answers 503 .*try again later"),
        ("POST", 412, lambda store: store.put("k", [b"v"]), "cannot write gs://.*/shop/k: .*412"),
        ("PUT", 400, lambda store: store.put("k", [b"v" * (9 << 20)]), "cannot write gs://.*/shop/k: .*400"),
    ],
)
def test_what_refusals_say(
    proxy: GCSProxy, gcs_bucket: str, method: str, status: int, call: Callable[[GCSObjects], object], words: str
) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="shop/", endpoint=proxy.url, timeout=2)
    proxy.refuse, proxy.status = method, status
    with pytest.raises(ObjectStoreError, match=words) as caught:
        call(store)
    said = "".join(traceback.format_exception(caught.value))
    assert "upload_id" not in said, "whoever has an upload's address can write to it"
    assert caught.value.__cause__ is not None or method == "PUT"


def test_a_server_that_accepts_and_never_answers(gcs_bucket: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        store = GCSObjects(bucket=gcs_bucket, prefix="p/", endpoint=endpoint, timeout=0.5)
        for call in (lambda: store.get("k"), lambda: store.put("k", [b"v"])):
            with pytest.raises(ObjectStoreError, match="cannot be reached"):
                call()


def test_a_copy_that_cannot_be_kept(store: GCSObjects, copies: Path) -> None:
    store.put("folder/k", [b"v"])
    copies.mkdir()
    (copies / "folder").write_bytes(b"a file where a folder should be")
    with pytest.raises(ObjectStoreError, match="check the local folder of copies and its disk"):
        store.fetch("folder/k")
    assert store.get("folder/k") == b"v"


def _service_account() -> tuple[dict[str, str], str]:
    """What a service account's file holds, and a line of its key, which must never show."""
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = private.decode()
    whole = {
        "type": "service_account",
        "client_email": "flows@example.com",
        "private_key_id": "1",
        "private_key": pem,
        "project_id": "shop",
        "token_uri": f"http://127.0.0.1:{free_port()}/token",
    }
    return whole, pem.splitlines()[3]


def _key_files() -> dict[str, tuple[bytes, str]]:
    """Service accounts' files by what is wrong with them, and the secret inside."""
    whole, secret = _service_account()
    pem, text = whole["private_key"], json.dumps(whole)
    return {
        "whole, but nobody gives a token": (text.encode(), secret),
        "without a token address": (json.dumps({**whole, "token_uri": None}).encode(), secret),
        "with half a key": (text.replace(pem.splitlines()[-2], "").encode(), secret),
        "half a file": (text[:-60].encode(), secret),
        "a list": (json.dumps([whole]).encode(), secret),
        "a user's": (json.dumps({**whole, "type": "authorized_user"}).encode(), secret),
        "no text": (b"\xff\xfe" + text.encode(), secret),
    }


KEY_FILES = _key_files()


@pytest.mark.parametrize("name", KEY_FILES)
def test_a_key_file_never_shows(tmp_path: Path, name: str) -> None:
    content, secret = KEY_FILES[name]
    assert secret.encode() in content
    file = tmp_path / "key.json"
    file.write_bytes(content)
    store = GCSObjects(bucket="any", prefix="p/", credentials=str(file), timeout=0.5)
    with pytest.raises(ObjectStoreError, match=r"credentials_json|cannot be reached") as caught:
        store.ping()
    shown = "".join(traceback.format_exception(caught.value)) + repr(store) + store.describe()
    error: BaseException | None = caught.value
    while error is not None:
        shown += repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    assert secret not in shown


def test_credentials_that_were_revoked(proxy: GCSProxy, gcs_bucket: str, tmp_path: Path) -> None:
    proxy.refuse, proxy.status = "POST", 400
    whole, secret = _service_account()
    file = tmp_path / "key.json"
    file.write_text(json.dumps({**whole, "token_uri": f"{proxy.url}/token"}))
    store = GCSObjects(bucket=gcs_bucket, prefix="p/", credentials=str(file), timeout=2)
    with pytest.raises(ObjectStoreError, match=r"expired or revoked; make a new key .*credentials_json") as caught:
        store.get("k")
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    store = GCSObjects(bucket="any", prefix="p/", credentials=str(tmp_path / "none.json"))
    with pytest.raises(ObjectStoreError, match=r"none\.json cannot be read: No such file"):
        store.get("k")


FORKS = """
import os, signal, sys, threading
from expops_prefect.stores.objects.gcs.store import GCSObjects
from expops_prefect.stores.objects.gcs.client import Connection

endpoint, bucket, case = sys.argv[1:]
store = GCSObjects(bucket=bucket, prefix="shop/", endpoint=endpoint)
GCSObjects(bucket=bucket, prefix="shop/", endpoint=endpoint).put("k", [b"v"])
opening, go_on, parent = threading.Event(), threading.Event(), os.getpid()
connect = Connection._open
clients = []

def slowly(connection):
    if os.getpid() == parent and case == "connecting":
        opening.set()
        go_on.wait()
    clients.append(connect(connection))
    return clients[-1]

Connection._open = slowly
thread = threading.Thread(target=store.get, args=("k",))
thread.start()
if case == "connecting":
    opening.wait()
else:
    thread.join()
child = os.fork()
if child == 0:
    signal.alarm(20)  # ends a child that hangs
    before = len(clients)
    found = store.get("k")
    os._exit(0 if found == b"v" and len(clients) == before + 1 else 1)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
print(status, store.get("k"), len(clients))
"""


@pytest.mark.parametrize("case", ["connected", "connecting"])
def test_a_forked_child_connects_anew(gcs_endpoint: str, gcs_bucket: str, case: str) -> None:
    # In a process of its own: the suite's may have threads of other libraries, which forks do not agree with.
    done = subprocess.run(
        [sys.executable, "-c", FORKS, gcs_endpoint, gcs_bucket, case],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.stdout.split() == ["0", "b'v'", "1"], done.stderr


def test_threads_share_a_store_and_its_counts(gcs_endpoint: str, gcs_bucket: str) -> None:
    store = GCSObjects(bucket=gcs_bucket, prefix="p/", endpoint=gcs_endpoint)
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(15):
            data = f"{number} {turn}".encode()
            store.put(f"k{number}", [data])
            if store.get(f"k{number}") != data:
                wrong.append(data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (store.calls["reads"], store.calls["writes"]) == (180, 180)
    assert store.calls["bytes_read"] == store.calls["bytes_written"]


def test_the_bucket_is_told_which_generation_to_remove(
    store: GCSObjects, proxy: GCSProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = store.put("k", [b"v"])
    asked: list[str] = []
    answer = proxy.answer

    def listen(method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        if method == "DELETE":
            asked.append(urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["ifGenerationMatch"][0])
        return answer(method, path, headers, body)

    monkeypatch.setattr(proxy, "answer", listen)
    proxy.refuse, proxy.status = "DELETE", 412  # what a bucket answers if it has another generation by now
    assert store.delete("k", stamp=info.stamp) is False
    proxy.refuse = None
    assert store.delete("k", stamp=info.stamp) is True
    assert asked == [info.stamp.split()[1]] * 2
