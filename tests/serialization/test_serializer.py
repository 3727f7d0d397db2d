from __future__ import annotations

import base64
import json
import pickle
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect.results import ResultRecord, ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.serializers import Serializer

from expops_prefect.errors import FormatError, IntegrityError, ResultNotStorableError
from expops_prefect.serialization.envelope import Envelope
from expops_prefect.serialization.manifest import pack
from expops_prefect.serialization.references import OWN_MARKER
from expops_prefect.serialization.serializer import ExpOpsSerializer
from tests.serialization.exact import assert_same
from tests.serialization.readers import FromMemory

VALUE: dict[str, Any] = {
    "a": np.arange(100_000.0),
    "f": pd.DataFrame({"t": ["x", None] * 40_000}),
    "n": float("nan"),
    OWN_MARKER: (1, b"x" * 300_000),
}


def record(value: object, serializer: Serializer[Any]) -> ResultRecord[Any]:
    return ResultRecord(result=value, metadata=ResultRecordMetadata(serializer=serializer, storage_key="k"))


class TestByItself:
    def test_text_holds_everything(self) -> None:
        serializer = ExpOpsSerializer()
        text = serializer.dumps(VALUE)
        assert type(text) is bytes
        text.decode("ascii")
        assert_same(VALUE, serializer.loads(text))

    def test_through_the_json_of_a_record(self) -> None:
        content = record(VALUE, ExpOpsSerializer()).serialize()
        assert json.loads(content)["metadata"]["serializer"]["type"] == "expops"
        assert_same(VALUE, ResultRecord.deserialize(content).result)

    def test_through_separate_metadata(self) -> None:
        made = record(VALUE, ExpOpsSerializer())
        loaded: ResultRecord[Any] = ResultRecord.deserialize_from_result_and_metadata(
            made.serialize_result(), made.serialize_metadata()
        )
        assert_same(VALUE, loaded.result)

    def test_results_that_cannot_be_pickled(self) -> None:
        with pytest.raises(ResultNotStorableError, match="NO_CACHE"):
            ExpOpsSerializer().dumps(threading.Lock())

    def test_foreign_and_damaged_bytes(self) -> None:
        serializer = ExpOpsSerializer()
        for foreign in (
            b"",
            b"{}",
            base64.b64encode(pickle.dumps(1)),
            serializer.dumps(1).replace(b"text 1", b"text 2"),
        ):
            with pytest.raises(FormatError, match="not a result of ExpOpsSerializer"):
                serializer.loads(foreign)
        text = serializer.dumps(VALUE)
        for damaged in (text[:-1], text + b"*", text[: len(text) // 2 // 4 * 4]):
            with pytest.raises(IntegrityError):
                serializer.loads(damaged)

    def test_text_that_refers_to_payloads_is_refused(self) -> None:
        linked = ExpOpsSerializer().dumps(1).partition(b"\n")[0] + b"\n" + base64.b64encode(pack(VALUE).manifest)
        with pytest.raises(IntegrityError, match="does not contain"):
            ExpOpsSerializer().loads(linked)


class TestDetached:
    def test_envelope(self) -> None:
        serializer = ExpOpsSerializer(detached=True)
        envelope = serializer.dumps(VALUE)
        assert isinstance(envelope, Envelope)
        assert len(envelope) < 100
        assert envelope.packed is not None
        assert [payload.ref.suffix for payload in envelope.packed.payloads] == [".npz", ".arrow", ".buf"]
        back = Envelope.for_reading(envelope.packed.manifest, FromMemory(envelope.packed))
        assert_same(VALUE, serializer.loads(back))
        assert_same(VALUE, ExpOpsSerializer().loads(back))

    def test_records_pass_the_envelope_on(self) -> None:
        made = record(VALUE, ExpOpsSerializer(detached=True))
        envelope = made.serialize_result()
        assert isinstance(envelope, Envelope)
        assert envelope.packed is not None
        back = Envelope.for_reading(envelope.packed.manifest, FromMemory(envelope.packed))
        loaded: ResultRecord[Any] = ResultRecord.deserialize_from_result_and_metadata(back, made.serialize_metadata())
        assert_same(VALUE, loaded.result)

    def test_spill_bytes(self) -> None:
        envelope = ExpOpsSerializer(detached=True, spill_bytes=1 << 30).dumps(VALUE)
        assert isinstance(envelope, Envelope)
        assert envelope.packed is not None
        assert envelope.packed.payloads == ()

    @pytest.mark.parametrize(("prefix", "start"), [("", "payloads/"), ("gs://b/p/cache/", "gs://b/p/cache/payloads/")])
    def test_uris(self, prefix: str, start: str) -> None:
        envelope = ExpOpsSerializer(detached=True, uri_prefix=prefix).dumps({"a": VALUE["a"]})
        assert isinstance(envelope, Envelope)
        assert envelope.packed is not None
        assert pickle.loads(envelope.packed.manifest)["a"]["uri"].startswith(start)

    def test_results_that_cannot_be_pickled(self) -> None:
        envelope = ExpOpsSerializer(detached=True).dumps([threading.Lock()])
        assert isinstance(envelope, Envelope)
        assert envelope.packed is None
        assert "NO_CACHE" in str(envelope.failure)

    def test_an_envelope_that_lost_its_contents(self) -> None:
        serializer = ExpOpsSerializer(detached=True)
        for lost in (bytes(serializer.dumps(VALUE)), serializer.dumps(VALUE)):
            with pytest.raises(FormatError, match="ExpOpsResultStorage"):
                serializer.loads(lost)


def test_configuration_survives_json_and_copies() -> None:
    serializer = ExpOpsSerializer(detached=True, spill_bytes=5, uri_prefix="gs://b/")
    loaded = Serializer.model_validate_json(serializer.model_dump_json())
    assert loaded == serializer
    assert type(loaded) is ExpOpsSerializer
    assert pickle.loads(pickle.dumps(serializer)) == serializer
    with pytest.raises(ValueError):
        ExpOpsSerializer(spill_bytes=0)
