"""The parts that need no flow: how splits are written out, how data are divided, how metrics are chosen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from expops_prefect.config import Settings
from expops_prefect.effects.seeding import derived_seed, seeded
from expops_prefect.expops.bridge.expansion import expand
from expops_prefect.expops.bridge.outputs import PipelineError, split_rows
from expops_prefect.expops.bridge.pipeline import Pipeline
from expops_prefect.expops.bridge.probes import chart_metrics
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.serialization.manifest import pack, unpack
from tests.config.support import settings_of
from tests.serialization.readers import FromFiles


def settings(tmp_path: Path, adjlist: str, **processes: str) -> Settings:
    lines = "\n".join(f"      - {{name: {name}{', ' * bool(rest)}{rest}}}" for name, rest in processes.items())
    return settings_of(
        tmp_path / "shop",
        f"scripts: {{main: src/model.py}}\nexperiment:\n  pipeline:\n    process_adjlist: {json.dumps(adjlist)}\n"
        f"    processes:\n{lines}\n",
    )


def paths(found: Settings) -> dict[str, list[str]]:
    instances = expand(Pipeline(found), found)
    return {item.path: [source.path for source in item.sources] for item in instances}


DATA = "data_parallelism: {size: 2, data_name: rows}"


def test_splits_in_each_other_and_their_outside(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "load a\na b\nb fit\nload fit\nfit inner\ninner outer\nload outer",
        load="",
        a=DATA,
        b=DATA,
        fit="",
        inner="data_aggregation: true",
        outer="data_aggregation: true",
    )
    expanded = paths(found)
    first = "//*[@partition='p1']/process[@name='b']"
    assert expanded["//*[@partition='p1']/*[@partition='p2']/process[@name='fit']"] == [
        first,
        "//process[@name='load']",
    ]
    fits = [f"//*[@partition='p2']/*[@partition='p{number}']/process[@name='fit']" for number in (1, 2)]
    assert expanded["//*[@partition='p2']/process[@name='inner']"] == fits
    # What lies outside of the split comes once.
    inner = [f"//*[@partition='p{number}']/process[@name='inner']" for number in (1, 2)]
    assert sorted(expanded["//process[@name='outer']"]) == sorted([*inner, "//process[@name='load']"])
    assert len(expanded) == 1 + 1 + 2 + 4 + 2 + 1


def test_two_splits_side_by_side_are_combined(tmp_path: Path) -> None:
    seeds = "seed_parallelism: {seeds: [5, -6]}"
    found = settings(tmp_path, "a fit\ns fit\nfit both", a=DATA, s=seeds, fit="", both="seed_aggregation: true")
    expanded = paths(found)
    assert len([path for path in expanded if "fit" in path]) == 4
    assert "//*[@partition='p2']/*[@seed='-6']/process[@name='fit']" in expanded
    assert expanded["//*[@partition='p1']/process[@name='both']"] == [
        f"//*[@partition='p1']/*[@seed='{seed}']/process[@name='fit']" for seed in (5, -6)
    ]


def test_what_stands_in_no_line_is_run_and_what_a_browser_draws_is_not(tmp_path: Path) -> None:
    found = settings(tmp_path, "a b b2", a="", b="", b2="", alone="", live="chart_type: dynamic, code: main.x")
    assert set(paths(found)) == {f"//process[@name='{name}']" for name in ("a", "b", "b2", "alone")}


@pytest.mark.parametrize(
    "value",
    [list(range(7)), tuple(range(7)), np.arange(7), pd.DataFrame({"a": range(7)}, index=list("abcdefg"))],
    ids=["list", "tuple", "array", "frame"],
)
def test_rows_are_divided(value: Any) -> None:
    for parts, sizes in ((split_rows(value, 3), [3, 2, 2]), (split_rows(value, [1, 6]), [1, 6])):
        assert [len(part) for part in parts] == sizes
        assert {type(part) for part in parts} == {type(value)}
        joined = pd.concat(parts) if isinstance(value, pd.DataFrame) else np.concatenate(parts)
        assert (np.asarray(joined) == np.asarray(value)).all()


def test_columns_are_divided_together() -> None:
    parts = split_rows({"a": [1, 2, 3], "b": np.arange(3)}, 2)
    assert [part["a"] for part in parts] == [[1, 2], [3]]
    assert [len(part["b"]) for part in parts] == [2, 1]


@pytest.mark.parametrize("value", [5, "text", {"a": [1], "b": [1, 2]}, {"a": 1}, {}, [1, 2]])
def test_what_cannot_be_divided_is_refused(value: Any) -> None:
    with pytest.raises(PipelineError, match="rows"):
        split_rows(value, [3])


def test_charts_find_metrics_by_xpath() -> None:
    fits = [f"//*[@partition='p{number}']/process[@name='fit']" for number in (1, 2)]
    metrics: dict[str, dict[str, Any]] = {
        fits[0]: {"": {"loss": {"1": 1.0}}, "train": {"f1": 1}},
        fits[1]: {},
        "//process[@name='load']": {"": {}},
    }
    assert chart_metrics({"x": "//*[@name='load']"}, metrics) == {"x": {}, "load": {}}
    both = chart_metrics({"x": "//*[@name='fit']"}, metrics)
    assert both == {fits[0]: {"loss": {"1": 1.0}}, fits[1]: {}, "fit": {"loss": {"1": 1.0}}, "fit__2": {}}
    step = f"{fits[0]}/step[@name='train']"
    assert chart_metrics({"x": "//step | //*[@partition='p2']/process"}, metrics) == {
        step: {"f1": 1},
        fits[1]: {},
        "fit": {"f1": 1},
        "fit__2": {},
    }
    assert chart_metrics({"x": "//*[@name='none']", "y": "count(//step)"}, metrics) == {}


def test_a_seed_is_for_one_name_and_leaves_other_draws_alone() -> None:
    assert derived_seed(1, "a", "b") == derived_seed(1, "a", "b") == 1473482157
    assert (
        len({derived_seed(base, *names) for base in (1, 2, None) for names in (("a", "b"), ("ab",), ("b", "a"))}) == 9
    )
    random.seed(3)
    expected = [random.random() for _ in range(2)]
    random.seed(3)
    drawn = [random.random()]
    with seeded(1):
        inside = random.random(), np.random.rand()
    drawn.append(random.random())
    assert drawn == expected
    with seeded(1):
        assert (random.random(), np.random.rand()) == inside


class TestDeferred:
    VALUE: ClassVar[dict[str, Any]] = {
        "rows": [1, (2, 3)],
        "array": np.arange(1000.0),
        "frame": pd.DataFrame({"a": range(1000)}),
    }

    @pytest.mark.parametrize("spill", [10, 10_000, 10_000_000])
    def test_it_is_loaded_by_itself_and_anew_each_time(self, spill: int, tmp_path: Path) -> None:
        made = Deferred.of(self.VALUE)
        packed = pack({"a": [made, made], "b": Deferred.of(2)}, spill_bytes=spill)
        reader = FromFiles(tmp_path)
        loaded: Any = unpack(reader.store(packed), reader)
        assert not reader.read_whole
        part = loaded["a"][1]
        assert (part.fingerprint, loaded["b"].value()) == (made.fingerprint, 2)
        first, second = part.value(), part.value()
        assert first is not second
        assert first["rows"] == self.VALUE["rows"]
        assert (first["array"] == self.VALUE["array"]).all()
        pd.testing.assert_frame_equal(first["frame"], self.VALUE["frame"])
        assert Deferred.of(first).fingerprint == made.fingerprint

    def test_what_has_no_fingerprint_has_no_key(self) -> None:
        from expops_prefect.errors import FingerprintError
        from expops_prefect.fingerprint.values import fingerprint

        made = Deferred.of({"a": (number for number in range(2))})
        assert made.fingerprint == ""
        with pytest.raises(FingerprintError, match="cannot be fingerprinted"):
            fingerprint({"x": made})
        same = [Deferred.of([1, 2]), Deferred.of([1, 2])]
        assert fingerprint(same[0]) == fingerprint(same[1]) != fingerprint(Deferred.of((1, 2)))
