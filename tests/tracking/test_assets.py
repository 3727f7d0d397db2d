"""Tasks that materialize assets: never skipped in silence, and their events are sent on a hit too."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import prefect.events
import pytest
from prefect import assets, task

from expops_prefect import DataFile, Project, flow, instrument, materialize
from tests.config.support import make_project

pytestmark = pytest.mark.usefixtures("prefect_server")


class Seen(logging.Handler):
    """Counts executions, and notes the events of assets."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.events: list[tuple[str, str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage()] += 1


log = logging.getLogger("tests.assets")
log.propagate = False
log.setLevel(logging.INFO)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Any:
    handler, send = Seen(), prefect.events.emit_event

    def emit_event(event: str, resource: dict[str, str], **more: Any) -> Any:
        handler.events.append((event.rpartition("prefect.asset.")[2], resource["prefect.resource.id"], more))
        return send(event=event, resource=resource, **more)

    monkeypatch.setattr(prefect.events, "emit_event", emit_event)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}\n")
    monkeypatch.chdir(root)
    return root


@materialize("s3://shop/orders", by="dbt")
def orders(rows: list[int]) -> list[int]:
    log.info("orders")
    return rows


@materialize("s3://shop/table", outputs=["table.csv"])
def table(rows: list[int]) -> int:
    log.info("table")
    Path("table.csv").write_text(str(rows))
    return len(rows)


@materialize(assets.Asset(key="s3://shop/file"))
def file(rows: list[int]) -> DataFile:
    log.info("file")
    Path("file.csv").write_text(str(rows))
    return DataFile("file.csv")


@materialize("file://named.csv")
def named(rows: list[int]) -> None:
    log.info("named")
    Path("named.csv").write_text(str(rows))


@materialize("s3://shop/expiring", cache_expiration=timedelta(days=1))
def requested(rows: list[int]) -> int:
    log.info("requested")
    return len(rows)


@assets.materialize("s3://shop/plain")
def plain(rows: list[int]) -> list[int]:
    log.info("plain")
    return rows


@assets.materialize("s3://shop/plain-file")
def plain_file(rows: list[int]) -> DataFile:
    log.info("plain_file")
    Path("plain.csv").write_text(f"plain {rows}")
    return DataFile("plain.csv")


@task
def total(file: DataFile) -> int:
    log.info("total")
    return len(Path(file).read_text())


FILES = ("table.csv", "file.csv", "named.csv", "plain.csv")


def body() -> None:
    orders([1])
    table([1])
    named([1])
    requested([1])
    plain([1])
    total(plain_file([1]))
    total.submit(file([1])).result()


def run(root: Path, way: Callable[[], Any] = body) -> None:
    instrument(prefect.flow(way), tasks=[plain, plain_file, total])

    @flow(project=root)
    def materializing() -> None:
        way()

    materializing()


def test_what_has_no_file_is_executed_every_time(root: Path, seen: Seen, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "prefect.expops"):
        run(root)
    first, seen.events = seen.events, []
    for name in FILES:
        Path(name).unlink()
    run(root)
    once = {"table", "file", "named", "requested", "plain_file"}
    assert seen.counts == {**dict.fromkeys(once, 1), "orders": 2, "plain": 2, "total": 2}
    assert all(Path(name).read_text().endswith("[1]") for name in FILES)
    assert [event[:2] for event in seen.events] == [event[:2] for event in first]
    assert {key for event, key, _ in seen.events if event == "materialization.succeeded"} == {
        *(f"s3://shop/{name}" for name in ("orders", "table", "file", "expiring", "plain", "plain-file")),
        "file://named.csv",
    }
    runs = {run.run_id for run in Project.open(root).runs()[1:]}
    payloads = {key: more.get("payload") for event, key, more in seen.events if event.startswith("materialization")}
    assert payloads["s3://shop/table"]["computed_by_run"] in runs
    assert payloads["s3://shop/orders"] is None, "it was executed"
    (said,) = [line for line in caplog.messages if line.startswith("orders: it materializes s3://shop/orders")]
    assert "executed every time" in said
    rows = {row.path.split("'")[1]: row.fields for row in Project.open(root).rows(Project.open(root).runs()[0].run_id)}
    assert rows["orders"]["miss_reason"] == "it materializes s3://shop/orders, so it is executed every time"


def test_the_rule_for_all_skips_no_materialization(tmp_path: Path, seen: Seen, monkeypatch: Any) -> None:
    root = make_project(tmp_path / "other", "prefect: {project_id: shop, cache: {default: all}}\n")
    monkeypatch.chdir(root)
    for _ in range(2):
        run(root, lambda: (orders([1]), table([1])))
    assert seen.counts == {"orders": 2, "table": 1}


def test_it_is_prefects_decorator() -> None:
    with pytest.raises(TypeError, match="at least one asset"):
        materialize()
    ours: Any = materialize("s3://a", assets.Asset(key="s3://b"), by="dbt", name="made", retries=2, ignore=["rows"])(
        orders.fn
    )
    theirs: Any = assets.materialize("s3://a", assets.Asset(key="s3://b"), by="dbt", name="made", retries=2)(orders.fn)
    assert isinstance(ours, type(theirs))
    for each in (ours, ours.with_options(), cloudpickle.loads(cloudpickle.dumps(ours))):
        assert (each.assets, each.materialized_by) == (theirs.assets, theirs.materialized_by)
        assert (each.name, each.retries, each.ignore, each.outputs) == ("made", 2, ("rows",), ())
        assert each.cache_policy == orders.cache_policy
    other = ours.with_options(assets=["s3://c"], outputs=["c.csv"], retries=0)
    assert ([asset.key for asset in other.assets], other.outputs, other.retries) == (["s3://c"], ("c.csv",), 0)
    assert type(other) is type(ours)
