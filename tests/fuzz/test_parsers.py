"""A short round over every parser; ``python -m tests.fuzz`` goes on for longer."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import IN_PROCESS, TARGETS

FIELDS = [
    *(
        "format",
        "status",
        "payloads",
        "outputs",
        "digest",
        "size",
        "stamp",
        "inline",
        "object_key",
        "run_id",
        "numbered",
    ),
    *("__mlops_payload_ref__", "__mlops_model_ref__", "__expops_payload_ref__", "suffix", "meta", "items", "buffers"),
    *(
        "dtype",
        "shape",
        "order",
        "done",
        "sending",
        "holder",
        "token",
        "beat",
        "seconds",
        "expires",
        "host",
        "pid",
        "kind",
    ),
]
WORDS = [*FIELDS, "put", "change", "append", "increment", "copy", "object", "keep", "dict", "bytes", "pickle", "arrow"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=12),
    max_leaves=12,
)
BYTES = st.one_of(
    st.binary(max_size=400),
    VALUES.map(orjson.dumps),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=5), min_size=1).map(lambda parts: "/".join(parts).encode()),
    st.text("{}[]:,-&*!|>'\" \nab", max_size=60).map(str.encode),
)


@pytest.mark.parametrize("name", IN_PROCESS)
@settings(max_examples=150, deadline=None)
@given(data=BYTES)
def test_parsers_raise_their_own_errors_alone(name: str, data: bytes) -> None:
    TARGETS[name](data)
