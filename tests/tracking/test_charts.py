"""Charts: figures, paths and bytes of every kind of picture; what is none is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from expops_prefect import DataFile, log_chart
from expops_prefect.config import load_settings
from expops_prefect.project import Project
from expops_prefect.record.run_records import RunRecord
from expops_prefect.tracking import api
from expops_prefect.tracking.charts import ChartRefusedError, chart_bytes
from expops_prefect.tracking.run import Run

mpl.use("Agg")
RUN = "project-shop-20260101000000-0000abcd"
PATH = "//process[@name='train']"
PICTURES = {
    ".png": b"\x89PNG\r\n\x1a\nrest",
    ".jpg": b"\xff\xd8\xff\xe0rest",
    ".gif": b"GIF89arest",
    ".webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    ".svg": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    ".pdf": b"%PDF-1.7",
}
MIME = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}


def figure() -> Any:
    from matplotlib.figure import Figure

    made = Figure()
    made.add_subplot().plot([1, 2, 3])
    return made


@pytest.mark.parametrize("suffix", PICTURES)
def test_bytes_and_paths(tmp_path: Path, suffix: str) -> None:
    data = PICTURES[suffix]
    for given in (data, bytearray(data), memoryview(data)):
        assert chart_bytes(given) == (data, suffix)
    path = tmp_path / f"chart{suffix.upper()}"
    path.write_bytes(data)
    for place in (path, str(path), DataFile(path)):
        assert chart_bytes(place) == (data, suffix)
    if suffix != ".svg":
        # The content counts, not the name.
        misnamed = tmp_path / "misnamed.jpeg"
        misnamed.write_bytes(data)
        assert chart_bytes(misnamed) == (data, suffix)


def test_figures() -> None:
    data, suffix = chart_bytes(figure())
    assert suffix == ".png"
    assert data.startswith(b"\x89PNG")
    assert len(data) > 1000


def test_a_long_preamble_of_an_svg(tmp_path: Path) -> None:
    path = tmp_path / "long.svg"
    path.write_text("<?xml version='1.0'?><!--" + "x" * 5000 + "--><svg/>")
    assert chart_bytes(path)[1] == ".svg"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.png", None, "No such file"),
        ("notes.txt", b"text", "unknown kind of picture; known: .gif, .jpeg"),
        ("no_suffix", b"\x89PNG", "unknown kind of picture"),
        ("text.png", b"this is text", "text.png is not a picture"),
        ("empty.png", b"", "empty.png is not a picture"),
        ("empty.svg", b"", "empty.svg is not a picture"),
    ],
)
def test_files_that_are_no_charts(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ChartRefusedError, match=says):
        chart_bytes(tmp_path / name)


@pytest.mark.parametrize("chart", [None, 3, object(), {"a": 1}, b"", b"text", ["x.png"]])
def test_values_that_are_no_charts(chart: Any) -> None:
    with pytest.raises(ChartRefusedError):
        chart_bytes(chart)


def test_a_folder_is_no_chart(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ChartRefusedError, match=r"folder\.png"):
        chart_bytes(tmp_path / "folder.png")


class BrokenFigure:
    def savefig(self, *arguments: Any, **named: Any) -> None:
        raise LookupError("no font")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    project = Project(load_settings(tmp_path, environ={}))
    made = Run(project, RunRecord(RUN, "shop", "main", "f", "n", 1.0), owner=True)
    monkeypatch.setattr(api, "_here", lambda what: (made, PATH))
    return made


def test_nothing_is_raised(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "prefect.expops"):
        log_chart("broken figure", BrokenFigure())
        log_chart("null byte", "a\0b.png")
        for _ in range(5):
            log_chart("gone", "no/such/file.png")
    said = [record.getMessage() for record in caplog.records]
    assert sum("chart 'broken figure': LookupError('no font')" in line for line in said) == 1
    assert sum("chart 'null byte'" in line for line in said) == 1
    assert sum("chart 'gone': cannot read the chart no/such/file.png" in line for line in said) == 1
    assert run.outbox.pending == 0


def test_charts_in_the_index(run: Run) -> None:
    png, svg = PICTURES[".png"], PICTURES[".svg"]
    log_chart("confusion", png)
    log_chart("ROC / all", svg)
    log_chart("ROC - all", png)
    log_chart("confusion", png + b"second")
    log_chart("status", png)
    assert run.outbox.flush(20)
    project = run.project
    items = project.charts(RUN)[PATH]
    # A title that is used again replaces its chart, and is the newest then.
    assert [item["title"] for item in items] == ["ROC / all", "ROC - all", "confusion", "status"]
    for item in items:
        assert item["object_path"] == item["cache_path"]
        path = Path(item["cache_path"])
        assert path.is_file()
        assert path.stat().st_size == item["size_bytes"]
        assert item["mime_type"] == MIME[path.suffix]
        assert item["chart_type"] == "static"
    assert len({item["cache_path"] for item in items}) == 4, "titles that look alike do not share a file"
    assert Path(items[2]["cache_path"]).read_bytes() == png + b"second"
    project.outbox.close(5)
