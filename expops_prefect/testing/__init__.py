"""Tests for stores of your own: conformance suites, state machines and fault wrappers. Needs pytest and hypothesis.

Subclass a suite in your test module and define two fixtures:

    class TestMyStore(KVConformance):
        @pytest.fixture
        def store(self, tmp_path): ...  # an empty store

        @pytest.fixture
        def raw(self, tmp_path): ...  # reads and writes the same keys without the store

    TestMyMachine = kv_machine(new_store, examples=25).TestCase
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in ("kv_suite", "kv_counting", "kv_races", "kv_scans", "kv_machine", "object_suite")
    )
)

from expops_prefect.testing.faults import Faults, FaultyKV, FaultyObjects  # noqa: E402 - after the rewriting
from expops_prefect.testing.kv_machine import kv_machine  # noqa: E402
from expops_prefect.testing.kv_samples import RawKV  # noqa: E402
from expops_prefect.testing.kv_suite import KVConformance  # noqa: E402
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects, object_machine  # noqa: E402

__all__ = [
    "Faults",
    "FaultyKV",
    "FaultyObjects",
    "KVConformance",
    "ObjectConformance",
    "RawKV",
    "RawObjects",
    "kv_machine",
    "object_machine",
]
