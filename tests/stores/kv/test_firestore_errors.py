"""What FirestoreKV says and does when Firestore cannot be reached, refuses, or loses an answer."""

from __future__ import annotations

import json
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.api_core import exceptions
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from expops_prefect.errors import KVError, KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.stores.kv.firestore import client as firestore_client
from expops_prefect.stores.kv.firestore.client import Conflict, Connection
from expops_prefect.stores.kv.firestore.store import FirestoreKV
from tests.support.firestore import Documents, new_store
from tests.support.server import free_port, wait_until

pytestmark = pytest.mark.usefixtures("firestore_host")

METRICS = names.metrics_key("r", "//process[@name='train']")
STATUS = names.run_status_key("r")


def every_call(store: FirestoreKV) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: store.get("k"),
        "get_many": lambda: store.get_many(["k", METRICS]),
        "get_versioned": lambda: store.get_versioned(STATUS),
        "put": lambda: store.put("k", 1),
        "put_many": lambda: store.put_many({"k": 1, STATUS: 2}),
        "create": lambda: store.create("k", 1),
        "compare_and_set": lambda: store.compare_and_set("k", "1.000000000", 1),
        "update": lambda: store.update("k", lambda value: 1),
        "delete": lambda: store.delete("k"),
        "delete_many": lambda: store.delete_many(["k", STATUS]),
        "increment": lambda: store.increment("k"),
        "append_metrics": lambda: store.append_metrics(METRICS, [MetricPoint("loss", 1, 1)]),
        "scan": lambda: list(store.scan("")),
        "scan runs": lambda: list(store.scan("runs:r:")),
        "ping": store.ping,
    }


@pytest.mark.parametrize("call", every_call(FirestoreKV.__new__(FirestoreKV)))
def test_nothing_listens(call: str) -> None:
    store = new_store(emulator_host=f"127.0.0.1:{free_port()}", timeout=0.3)
    with pytest.raises(KVError, match="Check that the emulator runs") as caught:
        every_call(store)[call]()
    assert not isinstance(caught.value, KVRefusedError)
    assert isinstance(caught.value.__cause__, exceptions.GoogleAPIError)
    store.close()


def test_something_listens_and_does_not_answer() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        store = new_store(emulator_host=f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        for call in (lambda: store.get("k"), lambda: store.put("k", 1), lambda: store.create("k", 1)):
            with pytest.raises(KVError, match="could not be reached in time"):
                call()
        store.close()


class Proxy:
    """Passes connections on to the emulator until it is stopped."""

    def __init__(self, target: str, port: int = 0) -> None:
        self._target = target.split(":")
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((self._target[0], int(self._target[1])))
            self._sockets += [near, far]
            threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


def test_an_outage_in_between(firestore_host: str, project: str) -> None:
    proxy = Proxy(firestore_host)
    store = new_store(project, emulator_host=f"127.0.0.1:{proxy.port}", timeout=3.0)
    store.put("k", 1)
    assert store.update("k", lambda value: [value]) == [1]
    store.append_metrics(METRICS, [MetricPoint("loss", 1, 1)])
    proxy.stop()
    for call in (
        lambda: store.get("k"),
        lambda: store.update("k", lambda value: "lost"),
        lambda: store.append_metrics(METRICS, [MetricPoint("loss", "lost", 1)]),
    ):
        with pytest.raises(KVError, match="could not be reached in time"):
            call()
    again = Proxy(firestore_host, proxy.port)

    def is_back() -> bool:
        try:
            return store.get("k") == [1]
        except KVError:
            return False

    # The channel itself waits a little before it connects again.
    wait_until(is_back, 60, "the connection")
    store.append_metrics(METRICS, [MetricPoint("loss", 2, 2)])
    assert store.get(METRICS) == {"loss": {"1": 1, "2": 2}}
    store.close()
    again.stop()


class Lost(grpc.RpcError):  # type: ignore[misc, unused-ignore]
    """The answer of a call that took effect."""

    def result(self) -> Any:
        raise self

    def code(self) -> Any:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "connection reset"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class LosesAnswers(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Lets so many commits take effect and then loses the answer."""

    def __init__(self) -> None:
        self.left = 0

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        answer = continuation(details, request)
        if self.left and str(details.method).endswith("Commit"):
            self.left -= 1
            answer.result()
            return Lost()
        return answer


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch, project: str) -> Iterator[tuple[FirestoreKV, LosesAnswers]]:
    losses = LosesAnswers()
    channel = grpc.insecure_channel
    monkeypatch.setattr(
        grpc, "insecure_channel", lambda *given, **named: grpc.intercept_channel(channel(*given, **named), losses)
    )
    store = new_store(project)
    store.ping()
    yield store, losses
    store.close()


def test_lost_answers(lossy: tuple[FirestoreKV, LosesAnswers], store: FirestoreKV) -> None:
    """What may be done twice is tried again; of the rest nobody can say whether it was done."""
    unsure, losses = lossy

    def losing(call: Callable[[], object]) -> object:
        losses.left = 1
        result = call()
        assert losses.left == 0
        return result

    losing(lambda: unsure.put("k", 1))
    assert losing(lambda: unsure.increment("n", token="t")) == 1
    losing(lambda: unsure.append_metrics(METRICS, [MetricPoint("loss", 1, 5)]))
    assert store.get_many(["k", "n", METRICS]) == {"k": 1, "n": 1, METRICS: {"loss": {"5": 1}}}
    for call in (
        lambda: unsure.create("c", 1),
        lambda: unsure.increment("n"),
        lambda: unsure.update("k", lambda value: [value]),
        lambda: unsure.delete("c"),
    ):
        with pytest.raises(KVError, match="connection reset"):
            losing(call)
    # Each of them was done once.
    assert store.get_many(["c", "k", "n"]) == {"k": [1], "n": 2}
    # What was remembered is not taken for what is there.
    assert unsure.update("k", lambda value: [value]) == [[1]]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (exceptions.PermissionDenied("Missing or insufficient permissions"), r"roles/datastore\.user.*gcp_project"),
        (exceptions.Unauthenticated("token SECRET"), "credentials_json"),
        (exceptions.ServiceUnavailable("Getting metadata from plugin failed with error: SECRET"), "credentials_json"),
        (exceptions.NotFound("The database (default) does not exist for project x"), "Native mode"),
        (
            exceptions.FailedPrecondition("The Cloud Firestore API is not available for Firestore in Datastore Mode"),
            "Native mode",
        ),
        (exceptions.DeadlineExceeded("too late"), "could not be reached in time"),
        (exceptions.Unknown("odd"), "Google Cloud console"),
    ],
)
def test_advice(store: FirestoreKV, monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def fail(**named: object) -> object:
                raise error

            return fail

    monkeypatch.setattr(Connection, "_api", lambda self: Failing())
    for name, call in every_call(store).items():
        with pytest.raises(KVError, match=advice) as caught:
            call()
        assert caught.value.__cause__ is error, name
        assert "SECRET" not in str(caught.value)
        assert not isinstance(caught.value, KVRefusedError)


class Clock:
    """Waits in no time."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += max(seconds, 1.0)


def test_others_are_always_faster(store: FirestoreKV, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_many({STATUS: 1, METRICS: {"loss": {"1": 1}}})
    attempts = 0

    def conflict(self: Connection, *given: object, **named: object) -> list[Any]:
        nonlocal attempts
        attempts += 1
        raise Conflict

    monkeypatch.setattr(Connection, "commit", conflict)
    monkeypatch.setattr(firestore_client, "time", Clock())
    calls: list[Callable[[], object]] = [
        lambda: store.update("k", lambda value: 1),
        lambda: store.update(METRICS, lambda value: {}),
        lambda: store.create(names.run_timestamps_key("r"), 2),
        lambda: store.delete(STATUS),
    ]
    for call in calls:
        attempts = 0
        with pytest.raises(KVError, match="other writers kept changing it"):
            call()
        assert attempts > 5


def test_values_that_are_too_large(store: FirestoreKV) -> None:
    for key in ("k", names.row_key("r", "p"), STATUS):
        for call in (store.put, store.create):
            with pytest.raises(KVRefusedError, match="at most 1 MiB; keep large values in the object store"):
                call(key, {"text": "x" * 1_100_000})
    assert list(store.scan("")) == []


def test_a_document_that_is_no_json(store: FirestoreKV, project: str) -> None:
    documents = Documents(project)
    documents.write("k", b"bytes")  # type: ignore[arg-type, unused-ignore]
    with pytest.raises(KVError, match="bytes_value, which is not JSON"):
        store.get("k")
    documents.client.close()


@pytest.mark.parametrize("content", [None, "SECRET, and no JSON", json.dumps({"private_key": "SECRET"})])
def test_credentials_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    store = new_store(credentials=str(file), emulator_host=None)
    for _ in range(2):
        with pytest.raises(KVError, match="credentials_json") as caught:
            store.get("k")
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is not None
    store.close()


def test_no_secret_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"type": "service_account", "private_key": "SECRET"}))
    store = new_store("shop", credentials=str(file), emulator_host=None, database="other")
    for text in (repr(store), store.describe(), repr(store._session().connection.target.gcp_project)):
        assert "SECRET" not in text
        assert str(file) not in text
    assert b"SECRET" not in pickle.dumps(store)
    assert store.describe() == "Firestore project expops-prefect-tests, database other, mlops_projects/shop"


def test_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as one gets without Google: to a token that cannot be had, or a server that is not there."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    nowhere = f"127.0.0.1:{free_port()}"
    account = {
        "type": "service_account",
        "private_key": text,
        "client_email": "a@b.iam.gserviceaccount.com",
        "token_uri": f"http://{nowhere}/token",
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    create = FirestoreGrpcTransport.create_channel
    asked: list[dict[str, Any]] = []

    def channel(**named: Any) -> Any:
        asked.append(named)
        return create(nowhere, **named)

    monkeypatch.setattr(FirestoreGrpcTransport, "create_channel", channel)
    store = new_store(credentials=str(file), emulator_host=None, timeout=0.5)
    with pytest.raises(KVError) as caught:
        store.put("k", 1)
    assert text.splitlines()[1] not in str(caught.value)
    assert asked[0]["credentials"].service_account_email == "a@b.iam.gserviceaccount.com"
    assert asked[0]["credentials"].scopes == ("https://www.googleapis.com/auth/datastore",)
    store.close()


def test_without_any_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}.items():
        monkeypatch.setenv(name, value)
    store = new_store(credentials=None, emulator_host=None)
    with pytest.raises(KVError, match="gcloud auth application-default login"):
        store.ping()
    store.close()
