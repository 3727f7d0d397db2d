"""A run's summary for Prefect's UI: what it says, and that nothing of a user's becomes mark-up."""

from __future__ import annotations

import re
from typing import Any

import pytest

from expops_prefect.models.names import CacheKey, process_path, step_path
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from expops_prefect.tracking.artifacts import artifact_key
from expops_prefect.tracking.run_summary import RunSummary
from expops_prefect.tracking.summary_text import SHOWN_LINES, Chart, Summary, breakable, code, row, text

PNG = b"\x89PNG\r\n\x1a\n a small picture"
OLD, RUN = "project-shop-20260101000000-0000abcd", "project-shop-20260102000000-0000cdef"
KEY = str(CacheKey("train", "a" * 64, "b" * 64, "c" * 64))


def record(**changes: Any) -> RunRecord:
    given: dict[str, Any] = {"status": "completed", "ended_at": 9.0, **changes}
    return RunRecord(RUN, "shop", "main", "flow-run", "happy-cat", 1.0, **given)


def cached(saved: float, **more: Any) -> dict[str, Any]:
    return {"started_at": 1.0, "ended_at": 1.5, "cached_run_id": OLD, "cached_execution_time": saved, **more}


def test_calls_add_up() -> None:
    overview = RunSummary()
    train, load = process_path("train"), process_path("load")
    overview.ended(train, "train", "cached", cached(2.0, cache_key=KEY))
    overview.ended(train, "train", "cached", cached(3.0, cache_key=KEY))
    executed = {"started_at": 0.5, "ended_at": 4.0, "miss_reason": "it has expired"}
    overview.ended(train, "train", "completed", executed)
    overview.ended(load, "load", "failed", {"started_at": 0.25, "ended_at": 0.5})
    overview.ended(step_path(train, "scale"), "scale", "completed", executed)
    lines = overview.lines
    assert [line.path for line in lines] == [load, train, step_path(train, "scale")]
    assert (lines[1].took, lines[1].saved, lines[1].calls) == (3.5, 4.0, {"cached": 2, "completed": 1})

    summary = Summary(record(), lines, objects={KEY: "cache/x.pkl"}, linked=1, run_url=lambda run: f"http://ui/{run}")
    said = summary.markdown()
    assert said.startswith("**completed**: 3 executed, 2 from the cache, 4.00 s saved. ")
    (line,) = [line for line in said.replace("\N{NO-BREAK SPACE}", " ").splitlines() if "| train |" in line]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "1 completed, 2 cached",
        "train",
        "3.50 s",
        "4.00 s",
        f"[0000abcd](http://ui/{OLD}) (2 times)",
    ]
    assert "\n- it has expired: train, train / scale\n" in said
    assert "\ntrain: train/aaaaaaaa/bbbbbbbb/cccccccc in cache/x.pkl\n" in said
    assert "| train / scale |" in said
    assert "Only the first 1 of 2 hits have a link" in said
    assert "Degraded" not in said


def test_rows_of_other_processes_add_up_alike() -> None:
    overview = RunSummary()
    total = process_path("train")
    calls = [Row.load(process_path("train", number), {"status": "cached", **cached(2.0)}) for number in (1, 2)]
    rows = [
        Row.load(total, {"status": "cached", "calls": {"cached": 2}, **cached(2.0)}),
        *calls,
        Row.load(process_path("load"), {"status": "completed", "calls": {"completed": 1}, "started_at": 0.5}),
        Row.load(process_path("stuck"), {"status": "running", "calls": {"running": 1}, "started_at": 0.5}),
    ]
    overview.replace(rows)
    assert [(line.path, line.calls, line.saved) for line in overview.lines] == [
        (process_path("load"), {"completed": 1}, 0.0),
        (total, {"cached": 2}, 3.0),
    ]


def test_the_first_call_out_of_the_sum_adds_up_too() -> None:
    overview = RunSummary()
    total = process_path("train")
    first = {"status": "cached", **cached(8.0)}
    overview.replace(
        [
            Row.load(total, {"status": "cached", "calls": {"cached": 2}, **cached(2.0), "first": first}),
            Row.load(process_path("train", 2), {"status": "cached", **cached(2.0)}),
        ]
    )
    assert [(line.path, line.calls, line.saved) for line in overview.lines] == [(total, {"cached": 2}, 9.0)]


def test_what_was_saved_is_one_answer_everywhere() -> None:
    # The hit took longer than computing would have: nothing was saved, and nothing says so.
    slow = {"status": "cached", "started_at": 1.0, "ended_at": 3.0, "execution_time": 2.0, "cached_execution_time": 1.5}
    quick = {**slow, "ended_at": 1.5, "execution_time": 0.5}
    rows = [Row.load(process_path(name), value) for name, value in (("slow", slow), ("quick", quick))]
    assert [row.saved for row in rows] == [0.0, 1.0]
    overview = RunSummary()
    overview.replace(rows)
    assert sorted(line.saved for line in overview.lines) == [0.0, 1.0]
    assert "2 from the cache, 1.00 s saved. " in Summary(record(), overview.lines).markdown()
    overview.replace(rows[:1])
    assert "1 from the cache. " in Summary(record(), overview.lines).markdown()


def test_what_went_wrong_and_charts_are_shown() -> None:
    charts = [
        Chart("small", "train", "image/png", "/a.png", PNG),
        Chart("large", "train", "image/png", "gs://bucket/b.png"),
    ]
    said = Summary(record(degraded={"metrics refused": 3}), (), charts=charts).markdown()
    assert "### Degraded\n\n- metrics refused: 3 times" in said
    assert "![small](data:image/png;base64,iVBOR" in said
    assert "### large (train)\n\nin `gs://bucket/b.png`" in said
    assert "| process" not in said, "no table without processes"


def test_a_run_of_many_names_is_cut() -> None:
    overview = RunSummary()
    for number in range(SHOWN_LINES + 5):
        overview.ended(process_path(f"t{number}"), f"t{number}", "completed", {"started_at": number})
    said = Summary(record(), overview.lines).markdown()
    assert said.count("\n| completed | t") == SHOWN_LINES
    assert "… and 5 more" in said


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "a | b",
        "two\nlines\r\n# heading",
        "[x](javascript:alert(1))",
        "![x](http://elsewhere/x.png)",
        "`code` **bold** _it_ ~~no~~",
        "&lt;b&gt; \\",
        "\x1b[31mred",
        "http://elsewhere.invalid",
    ],
)
def test_nothing_of_a_users_is_markup(hostile: str) -> None:
    for made in (text(hostile), code(hostile), breakable(hostile).replace("\N{ZERO WIDTH SPACE}", "")):
        assert "\n" not in made
        assert "\r" not in made
        assert made.isprintable()
    assert not re.search(r"(?<!\\)[\[\]()`*_|~!]|[<>]|(?<!\\)#(?!39;)", text(hostile))
    assert "|" not in code(hostile)
    assert code(hostile).count("`") == 2
    assert row([text(hostile), "x"]).replace("\\|", "").count("|") == 3


def test_keys_are_those_that_prefect_takes() -> None:
    assert artifact_key("shop") == "expops-shop"
    assert artifact_key("shop", "metrics") == "expops-shop-metrics"
    odd = {artifact_key(name) for name in ("My_Shop.2", "my-shop-2", "My-Shop_2", "___")}
    assert len(odd) == 4
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in odd)


def test_series() -> None:
    from expops_prefect.stores.outbox.numbering import LoggedPoint

    overview = RunSummary()
    values = (0.5, "NaN", 0.25)
    overview.points(process_path("train"), [LoggedPoint("loss", value) for value in values])
    (shown,) = Summary(record(), (), metrics=overview.series).metric_rows()
    assert shown == {
        "process": "train", "metric": "loss", "last": 0.25, "lowest": 0.25, "highest": 0.5, "points": 3
    }  # fmt: skip


def test_when_hits_were_computed_is_said_once_for_each_run() -> None:
    overview = RunSummary()
    for name, at in (("load", -3000.0), ("train", -3599.0)):
        overview.ended(process_path(name), name, "cached", cached(2.0, cached_ended_at=at))
    said = Summary(record(), overview.lines, run_url=lambda run: f"http://ui/{run}").markdown()
    assert f"### Computed by\n\n- [0000abcd](http://ui/{OLD}): 1 hour before\n" in said


def test_long_names_are_short_in_the_table_and_whole_below() -> None:
    overview = RunSummary()
    name = "fit_one_of_the_models_" * 3
    for number in range(1, 4):
        status = "failed" if number == 2 else "completed"
        fields = {"started_at": 1.0, "ended_at": 2.0, "miss_reason": "new", "task_run_id": f"run-{number}"}
        overview.ended(process_path(name), name, status, fields, call=process_path(name, number))
    summary = Summary(record(), overview.lines, calls=overview.calls)
    said = summary.markdown()
    (line,) = [line for line in said.splitlines() if line.startswith("| 1")]
    status, short, *_ = (cell.strip().replace("\\", "") for cell in line.split(" | "))
    assert status == "| 1\N{NO-BREAK SPACE}failed, 2\N{NO-BREAK SPACE}completed"
    assert short == "fit_one_of_th…he_models_"
    (whole,) = [line for line in said.splitlines() if line.startswith("- fit") and "…" in line]
    assert whole.replace("\\", "").replace("\N{ZERO WIDTH SPACE}", "") == f"- {short}: {name}"
    assert max(map(len, re.split(r"[\s\N{ZERO WIDTH SPACE}]", whole.replace("\\", "")))) <= 25
    calls = summary.call_rows()
    assert [call["whole name"] for call in calls] == [f"{name} #2", f"{name} #1", f"{name} #3"]
    assert (calls[0]["status"], calls[0]["task run"], calls[0]["why executed"]) == ("failed", "run-2", "new")
