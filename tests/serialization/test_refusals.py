from __future__ import annotations

import pickle
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sklearn.preprocessing import FunctionTransformer

from expops_prefect.errors import FormatError, IntegrityError, ResultNotStorableError
from expops_prefect.serialization.manifest import FORMAT, pack, unpack
from expops_prefect.serialization.references import ARRAY_MARKER, MODEL_MARKER, OWN_MARKER
from tests.serialization.readers import FromMemory
from tests.serialization.test_manifest import LARGE, Data, Point


class TestNotStorable:
    def test_message_names_the_part_and_the_way_out(self) -> None:
        value = {"a": 1, "models": [{"ok": LARGE}, Data({"lock": threading.Lock()})]}
        with pytest.raises(ResultNotStorableError) as caught:
            pack(value)
        message = str(caught.value)
        assert "result['models'][1].values['lock']" in message
        assert "lock" in message
        assert "cache_policy=NO_CACHE" in message
        assert "persist_result=False" in message
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize(
        "make",
        [
            lambda: (n for n in range(3)),
            lambda: threading.Lock(),
            lambda: sys._getframe(),
            lambda: [1, threading.Condition()],
        ],
    )
    def test_what_cannot_be_pickled(self, make: Any) -> None:
        with pytest.raises(ResultNotStorableError):
            pack(make())

    def test_models(self) -> None:
        model = FunctionTransformer(kw_args={"lock": threading.Lock()})
        with pytest.raises(ResultNotStorableError, match=re.escape("result['m'].kw_args['lock']")):
            pack({"m": model})

    def test_code_that_fails_while_it_is_pickled(self) -> None:
        class Grumpy:
            def __reduce__(self) -> Any:
                raise RuntimeError("not today")

        with pytest.raises(ResultNotStorableError, match="not today"):
            pack([LARGE, Grumpy()])


class TestFormat:
    def test_header(self) -> None:
        assert f"expops-prefect manifest {FORMAT} plain".encode() in pack(1).manifest
        assert f"expops-prefect manifest {FORMAT} linked".encode() in pack(LARGE, spill_bytes=1).manifest

    def test_other_formats(self) -> None:
        packed = pack({"a": 1})
        newer = packed.manifest.replace(b"manifest 1", b"manifest 2")
        with pytest.raises(FormatError, match="another release"):
            unpack(newer, FromMemory(packed))
        for other in (b"", b"x", pickle.dumps({"a": 1}), packed.manifest[5:]):
            with pytest.raises(FormatError, match="not a manifest"):
                unpack(other, FromMemory(packed))

    @pytest.mark.parametrize("cut", [50, 80, -1])
    def test_cut_manifests(self, cut: int) -> None:
        packed = pack({"a": LARGE, "b": list(range(100))}, spill_bytes=1024)
        with pytest.raises(IntegrityError):
            unpack(packed.manifest[:cut], FromMemory(packed))

    def test_classes_that_are_gone(self) -> None:
        packed = pack({"p": Point(1, 2)})
        with pytest.raises(IntegrityError, match="cannot be unpickled in this process"):
            unpack(packed.manifest.replace(b"Point", b"Ghost"), FromMemory(packed))

    def test_malformed_references(self) -> None:
        packed = pack({"a": LARGE}, spill_bytes=1024)
        start = packed.manifest.index(pickle.POP + b"\x80") + 1
        for reference in (
            {ARRAY_MARKER: True},
            {OWN_MARKER: True, "format": "bytes"},
            {MODEL_MARKER: True, "digest": 1},
        ):
            with pytest.raises(IntegrityError):
                unpack(packed.manifest[:start] + pickle.dumps(reference), FromMemory(packed))
        unknown = {OWN_MARKER: True, "format": "parquet-9", "digest": "0" * 64, "size": 0, "suffix": ".buf"}
        reader = FromMemory(packed)
        reader.data = lambda ref: b""  # type: ignore[method-assign]
        with pytest.raises(FormatError, match="parquet-9"):
            unpack(packed.manifest[:start] + pickle.dumps(unknown), reader)


class TwoArguments:
    """Its reduced form has one argument."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text

    def __reduce__(self) -> tuple[Any, ...]:
        return TwoArguments, (self.text,)


class TestNotLoadable:
    def test_it_is_said_when_it_is_stored(self) -> None:
        with pytest.raises(ResultNotStorableError, match=r"result\['e'\]\[0\].*can be pickled but not loaded again"):
            pack({"e": [TwoArguments(1, "x")]})

    def test_open_files(self) -> None:
        with (
            Path(__file__).open() as file,
            pytest.raises(ResultNotStorableError, match="an open file; return its path"),
        ):
            pack({"f": file})

    def test_views_of_memory(self) -> None:
        import array

        for view in (memoryview(b"abc"), memoryview(bytearray(b"abc")), memoryview(array.array("i", [1, 2]))):
            packed = pack([view])
            value: Any = unpack(packed.manifest, FromMemory(packed))
            back = value[0]
            assert type(back) is memoryview
            assert back == view
            assert (back.format, back.readonly) == (view.format, view.readonly)
