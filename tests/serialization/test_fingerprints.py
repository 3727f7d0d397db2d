"""A loaded result has the fingerprint of the computed one: else what follows would be computed every second run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.serialization.manifest import pack, unpack
from tests.serialization import test_arrays, test_frames, test_manifest
from tests.serialization.readers import FromMemory, round_trip

TABLES: dict[str, dict[str, Any]] = {
    "array": {**test_arrays.PLAIN, **test_arrays.PICKLED},
    "pandas": {**test_frames.ARROW, **test_frames.PICKLED},
    "polars": {**test_frames.POLARS_ARROW, **test_frames.POLARS_PICKLED},
    "arrow": {**test_frames.TABLES, **test_frames.ARROW_PICKLED},
    "result": test_manifest.VALUES,
}
# Small arrays are pickled, and NumPy's own pickle turns datetimes of foreign byte order into native ones.
del TABLES["array"]["big-endian datetimes"]
# No fingerprint: Arrow has no such type.
del TABLES["polars"]["wide integers"]
CASES = [(kind, name) for kind, table in TABLES.items() for name in table]


def mark(value: object) -> object:
    try:
        return fingerprint(value)
    except FingerprintError as error:
        return error.type_name


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("spill_bytes", [512, 1 << 30])
def test_awkward_values(kind: str, name: str, spill_bytes: int) -> None:
    value = TABLES[kind][name]
    assert mark(round_trip(value, spill_bytes)) == mark(value)


@settings(deadline=None, max_examples=150)
@given(value=test_manifest.RESULTS)
def test_any_result(value: Any) -> None:
    packed = pack(value, spill_bytes=24)
    assert mark(unpack(packed.manifest, FromMemory(packed))) == mark(value)
