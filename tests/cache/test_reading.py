"""Results are read back as they were stored, by run and process or by key; what cannot be read says what to do."""

from __future__ import annotations

import os
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import prefect
import pytest
from prefect import task as plain_task
from prefect.cache_policies import INPUTS
from prefect.serializers import JSONSerializer

from expops_prefect import EXPOPS, DataFile, Project, flow, task
from expops_prefect.cache import results
from expops_prefect.cache.results import record_key
from expops_prefect.cache.session import session
from expops_prefect.errors import (
    FormatError,
    IntegrityError,
    ProcessNotFoundError,
    ResultNotFoundError,
    ResultNotLoadableError,
    ResultNotStoredError,
    ResultRemovedError,
    RunNotFoundError,
)
from expops_prefect.maintenance import Selection, invalidate
from expops_prefect.models.record_format import RECORD_FORMAT
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.serialization.manifest import pack
from tests.config.support import make_project
from tests.support.cached import metadata_of
from tests.support.result_stores import own_key, record, result_store
from tests.support.server import wait_until

CONFIG = "prefect: {project_id: shop, cache: {spill_bytes: 1024}}\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Project:
    """A project with two runs, the second from the cache, and one that failed."""
    root = make_project(tmp_path_factory.mktemp("reading") / "shop", CONFIG)
    folder = tmp_path_factory.mktemp("theirs")

    @task
    def load(rows: int) -> pd.DataFrame:
        return pd.DataFrame({"row": range(rows)})

    @task
    def scale(frame: pd.DataFrame, by: int) -> Any:
        return frame["row"].to_numpy() * by

    @task(name="fit the model")
    def fit(frame: pd.DataFrame, by: int) -> dict[str, Any]:
        scaled: Any = scale(frame, by)
        return {"by": by, "sum": int(scaled.sum())}

    @task(cache_policy=EXPOPS, result_serializer=JSONSerializer())
    def settings() -> dict[str, int]:
        return {"depth": 3}

    @task(cache_policy=EXPOPS, persist_result=True, result_storage=folder)
    def elsewhere() -> int:
        return 5

    @task
    def nothing() -> None:
        return None

    @task
    def lock() -> Any:
        return threading.Lock()

    @task(persist_result=False)
    def off() -> int:
        return 1

    @plain_task(cache_policy=INPUTS, persist_result=True, result_storage_key="reading-prefects-own")
    def prefects() -> int:
        return 7

    @plain_task
    def forgotten() -> int:
        return 8

    @flow
    def inside(rows: int) -> int:
        frame: Any = load(rows)
        return len(frame)

    @flow(cached=True)
    def whole(rows: int) -> int:
        frame: Any = load(rows)
        return len(frame) * 2

    @flow(project=root)
    def main() -> int:
        frame: Any = load(1000)
        fit.map([frame] * 3, [1, 2, 3]).result()
        whole(1000)
        inside(1000)
        settings(), elsewhere(), nothing(), lock(), off(), prefects(), forgotten()
        return len(frame)

    @task
    def publish(frame: pd.DataFrame) -> None:
        raise RuntimeError("the shop is closed")

    @flow(project=root)
    def failing() -> None:
        frame: Any = load(1000)
        publish(frame, return_state=True)
        publish.submit(publish.submit(frame)).wait()
        raise RuntimeError("nothing is published")

    main()
    main()
    failing(return_state=True)
    opened = Project.open(root)
    assert opened.outbox.flush(30)
    return opened


@pytest.fixture(params=["computed", "cached"])
def run(shop: Project, request: pytest.FixtureRequest) -> str:
    """The run that computed the results, and the one that took them from the cache."""
    failed, cached, computed = shop.runs()
    assert failed.status == "failed"
    return (computed if request.param == "computed" else cached).run_id


def test_every_kind_of_value_by_run_and_process(shop: Project, run: str) -> None:
    frame = shop.result(run, "load")
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"row": range(1000)}))
    assert shop.result(run[-8:], "fit the model", call=2) == {"by": 2, "sum": 999_000}
    assert shop.result(shop.run(run), "fit the model #3") == {"by": 3, "sum": 1_498_500}
    assert shop.result(run, "whole") == 2000
    assert shop.result(run, "settings") == {"depth": 3}


def test_steps(shop: Project) -> None:
    run = shop.runs()[-1].run_id
    scaled = shop.result(run, "fit the model #2 / scale")
    assert scaled.tolist() == list(range(0, 2000, 2))
    assert (scaled[:2].tolist(), shop.result(run, "whole / load").shape) == ([0, 2], (1000, 1))
    path = next(row.path for row in shop.rows(run) if "scale" in row.path and "p3" in row.path)
    assert shop.result(run, path)[1] == 3


def test_latest_is_the_newest_run(shop: Project) -> None:
    assert len(shop.result("latest", "load")) == 1000


def test_by_key(shop: Project, run: str) -> None:
    key = next(str(row.fields["cache_key"]) for row in shop.rows(run) if row.label == "load" and "step" not in row.path)
    for name in (key, key[:20], "load"):
        assert len(shop.result(name)) == 1000
    with pytest.raises(ResultNotFoundError, match=r"'fit-the-model' matches 3 cached results in .*; give more of the"):
        shop.result("fit-the-model")
    with pytest.raises(ResultNotStoredError, match=r"no cached result under 'train/0f3a' in .*cache list"):
        shop.result("train/0f3a")
    with pytest.raises(ResultNotStoredError, match=r"no cached result under 'train/"):
        shop.result(own_key("never"))
    with pytest.raises(ResultNotFoundError, match=r"name the process"):
        shop.result(shop.runs()[0])


def test_names_that_do_not_match_say_what_does(shop: Project, run: str) -> None:
    three = "fit the model #1, fit the model #2, fit the model #3"
    with pytest.raises(ProcessNotFoundError, match=rf"matches 3 calls .*; give its number as call: {three}"):
        shop.result(run, "fit the model")
    with pytest.raises(ProcessNotFoundError, match=rf"has no call 4 in run .*; it has {three}"):
        shop.result(run, "fit the model", call=4)
    with pytest.raises(ProcessNotFoundError, match=r"no process or step 'tarin' in run .*; it has fit-the-model, "):
        shop.result(run, "tarin")
    with pytest.raises(RunNotFoundError, match=r"no run 'nowhere'"):
        shop.result("nowhere", "load")


def test_a_step_of_several_processes_is_named_with_its_process(shop: Project) -> None:
    with pytest.raises(ProcessNotFoundError, match=r"name one of them: fit the model #1 / scale, fit the"):
        shop.result(shop.runs()[-1].run_id, "scale")


@pytest.mark.parametrize(
    ("process", "says"),
    [
        ("inside", r"the result of a flow is stored only with flow\(cached=True\)"),
        (
            "off",
            r"executed without storing its result in the project \(caching is switched off: persist_result=False\)",
        ),
        ("forgotten", r"executed without storing its result in the project \("),
        ("elsewhere", "the result storage that the task or its flow names keeps its result, .*read it with"),
        ("lock", "its result could not be kept: .*cannot be pickled"),
    ],
)
def test_what_was_never_stored_says_so(shop: Project, process: str, says: str) -> None:
    with pytest.raises(ResultNotStoredError, match=says):
        shop.result(shop.runs()[-1].run_id, process)


def test_what_prefect_keeps_can_be_read_as_the_message_says(shop: Project, run: str) -> None:
    with pytest.raises(ResultNotStoredError, match=r"read it with") as caught:
        shop.result(run, "prefects")
    told = str(caught.value).partition("read it with ")[2]
    (task_run,) = re.findall(r"read_task_run\('([0-9a-f-]{36})'\)", told)
    # Task runs reach the server in events, a moment later.
    url = f"{os.environ['PREFECT_API_URL']}/task_runs/{task_run}"
    wait_until(lambda: httpx.get(url).json().get("state_type") == "COMPLETED", 60, "the server knows the task run")
    assert eval(told, {"prefect": prefect}) == 7


def test_a_failed_call_has_no_result(shop: Project) -> None:
    with pytest.raises(ResultNotStoredError, match=r"publish.* failed \(RuntimeError: the shop is closed\), so it has"):
        shop.result("latest", "publish", call=1)
    with pytest.raises(ResultNotStoredError, match=r"is pending, so it has no result yet"):
        shop.result("latest", "publish", call=3)


# Stores as they may be found ---------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without runs."""
    root = make_project(tmp_path / "shop", CONFIG)
    session().in_forked_child()
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(root))
    return Project.open(root)


KEY = own_key("one")
VALUES: list[Any] = [
    None,
    0,
    "text",
    {"a": [1, (2.5, b"x")], "array": np.arange(1000.0)},
    pd.DataFrame({"a": range(500)}),
    Path("nowhere/to/be/found"),
    [np.zeros(3000), {"inner": "x" * 5000}],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_as_they_were_stored(stored: Project, value: Any) -> None:
    result_store(stored).write(value, key=KEY)
    found = stored.result(KEY)
    assert type(found) is type(value)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
    else:
        np.testing.assert_equal(found, value)


def test_what_a_pipeline_stores_in_parts_is_whole(stored: Project) -> None:
    put(stored, {"part": Deferred.of({"rows": [1, 2]}), "more": {"a": Deferred.of(3)}})
    assert stored.result(KEY) == {"part": {"rows": [1, 2]}, "more": {"a": 3}}


def test_a_file_that_is_gone_is_named_and_not_put_back(stored: Project) -> None:
    file = stored.settings.root / "data" / "rows.csv"
    result_store(stored).write({"rows": DataFile(file)}, key=KEY)
    assert stored.result(KEY) == {"rows": DataFile(file)}
    assert not file.exists()


def put(project: Project, value: Any, **changes: Any) -> None:
    made = results.write_result(project, KEY, pack(value, spill_bytes=1024), None)
    made = replace(made, prefect_metadata=metadata_of(KEY), **changes)
    results.write_record(project, KEY, made, None)


def test_an_expired_result_can_be_read(stored: Project) -> None:
    put(stored, 5, expires_at=1.0)
    assert results.read_hit(stored, KEY) is None
    assert stored.result(KEY) == 5


def test_a_removed_result_says_how(stored: Project) -> None:
    put(stored, 5)
    assert invalidate(stored, Selection(process="train"))
    with pytest.raises(ResultRemovedError, match=r"was invalidated at 20.* \(cache invalidate\); run the flow again"):
        stored.result(KEY)


def payload(project: Project) -> Path:
    (item,) = record(project, KEY).payloads
    path = project.objects.path(item.key)
    assert path is not None
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("suffix", ["array", "pickle"])
def test_damage_is_found_before_anything_is_unpickled(stored: Project, suffix: str) -> None:
    put(stored, np.arange(1000) if suffix == "array" else {"a": Deferred.of(Bomb(b"x" * 2000))})
    file = payload(stored)
    file.write_bytes(b"\0" * file.stat().st_size)
    BOMBS.clear()
    with pytest.raises(IntegrityError, match=r"was changed after it was written; remove it with .* verify --repair"):
        stored.result(KEY)
    file.unlink()
    with pytest.raises(IntegrityError, match=r"^train/.{8}/.{8}/.{8}: the payload .* is gone; remove it with"):
        stored.result(KEY)
    assert BOMBS == []


BOMBS: list[str] = []


class Bomb:
    """Notes when it is unpickled."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __setstate__(self, state: Any) -> None:
        BOMBS.append("unpickled")
        self.__dict__ = state


def test_a_changed_record_is_damaged_too(stored: Project) -> None:
    put(stored, 5)
    value = stored.kv.get(record_key(KEY)) or {}
    stored.kv.put(record_key(KEY), {**value, "inline": "gAUu"})
    with pytest.raises(IntegrityError, match=r"the manifest in its record was changed"):
        stored.result(KEY)
    stored.kv.put(record_key(KEY), {**value, "size": "many"})
    with pytest.raises(IntegrityError, match=r"its record is a damaged cache record"):
        stored.result(KEY)
    stored.kv.put(record_key(KEY), {"format": RECORD_FORMAT + 1})
    with pytest.raises(FormatError, match=r"a newer expops-prefect stored it; upgrade"):
        stored.result(KEY)


def test_an_unsigned_record_is_not_loaded(stored: Project, tmp_path: Path) -> None:
    put(stored, Bomb(b""))
    (tmp_path / "key").write_text("a key that is long enough to be one\n")
    (tmp_path / "key").chmod(0o600)
    root = make_project(
        tmp_path / "shop", CONFIG.replace("spill_bytes", f"signing_key_file: {tmp_path}/key, spill_bytes")
    )
    BOMBS.clear()
    with pytest.raises(IntegrityError, match=r"its record is not signed with a key of prefect.cache.signing_key_file"):
        Project.open(root).result(KEY)
    assert BOMBS == []


def test_a_class_that_is_gone_is_no_damage(stored: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stored, Bomb(b""))
    monkeypatch.delattr(sys.modules[__name__], "Bomb")
    with pytest.raises(ResultNotLoadableError, match=r"cannot be unpickled in this process .*; read it with the code"):
        stored.result(KEY)
    monkeypatch.undo()
    assert isinstance(stored.result(KEY), Bomb)


def test_a_package_that_is_missing_is_named(stored: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "farshop.py").write_text("class Model:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import farshop  # type: ignore[import-not-found]

    put(stored, farshop.Model())
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "farshop")
    with pytest.raises(ResultNotLoadableError, match=r"install farshop, or read the result where it can be imported"):
        stored.result(KEY)


def test_a_replaced_result_is_not_taken_for_the_runs_own(shop: Project) -> None:
    computed = shop.runs()[-1]
    row = next(row for row in shop.rows(computed) if row.label == "settings")
    name = record_key(str(row.fields["cache_key"]))
    before = shop.kv.get(name) or {}
    for change in ({"run_id": "project-shop-20990101000000-0000abcd"}, {"task_run_id": "another"}):
        shop.kv.put(name, {**before, **change})
        with pytest.raises(ResultRemovedError, match=r"was replaced by that of run .*; read the newer one by its"):
            shop.result(computed, "settings")
    shop.kv.put(name, before)
    assert shop.result(computed, "settings") == {"depth": 3}


def test_a_record_that_is_gone_without_a_word(shop: Project) -> None:
    computed = shop.runs()[-1]
    row = next(row for row in shop.rows(computed) if row.label == "settings")
    name = record_key(str(row.fields["cache_key"]))
    before = shop.kv.get(name)
    assert before is not None
    shop.kv.delete(name)
    with pytest.raises(ResultRemovedError, match=r"not in the cache any more, or still waits .*expops-prefect sync"):
        shop.result(computed, "settings")
    shop.kv.put(name, before)
