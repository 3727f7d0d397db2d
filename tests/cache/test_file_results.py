"""Tasks that return what they write: cached, with the files put back; what else they write still counts."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel

from expops_prefect import EXPOPS, DataFile, Project, flow, task
from expops_prefect.maintenance import Policy, Selection, collect, invalidate, verify
from expops_prefect.maintenance.sync import copy_project
from expops_prefect.record import file_lists
from tests.config.support import make_project, settings_of

pytestmark = pytest.mark.usefixtures("prefect_server")
log = logging.getLogger("tests.executions")


class Executions(logging.Handler):
    """Counts what bodies log; logging is no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage()] += 1


@pytest.fixture
def executions() -> Iterator[Counter[str]]:
    handler = Executions()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    yield handler.counts
    log.removeHandler(handler)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}\n")
    monkeypatch.chdir(root)
    return root


def run(root: Path, body: Callable[[], Any]) -> Any:
    """The body as a flow."""

    @flow(project=root)
    def calling() -> Any:
        return body()

    return calling()


def why(root: Path) -> dict[str, str]:
    """Why each task run of the newest run was executed, by task."""
    project = Project.open(root)
    rows = project.rows(project.runs()[0].run_id)
    return {row.path.split("'")[1]: str(row.fields.get("miss_reason")) for row in rows if row.fields.get("miss")}


@dataclass
class Model:
    file: DataFile
    score: float = 0.5


class Fitted(BaseModel, arbitrary_types_allowed=True):
    files: dict[str, DataFile]


class Own:
    __slots__ = ("file",)

    def __init__(self, file: DataFile) -> None:
        self.file = file


FORMS: dict[str, Callable[[DataFile], Any]] = {
    "itself": lambda file: file,
    "list": lambda file: [1, file],
    "tuple": lambda file: ("a", (file,)),
    "set": lambda file: {file},
    "dictionary": lambda file: {"file": file, "n": 1},
    "dataclass": lambda file: Model(file),
    "model": lambda file: Fitted(files={"a": file}),
    "own class": lambda file: [Own(file)],
}


@task
def formed(form: str) -> Any:
    log.info("formed")
    Path(f"{form}.txt").write_text(form)
    return FORMS[form](DataFile(f"{form}.txt"))


def test_every_form_of_result(root: Path, executions: Counter[str]) -> None:
    for _ in range(2):
        run(root, lambda: [formed(form) for form in FORMS])
        for form in FORMS:
            assert Path(f"{form}.txt").read_text() == form
            Path(f"{form}.txt").unlink()
    assert executions["formed"] == len(FORMS)


def opened(path: Path) -> None:
    with path.open("w") as file:
        file.write("content")


def replaced(path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text("content")
    temporary.replace(path)


def moved(path: Path) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    os.write(handle, b"content")
    os.close(handle)
    shutil.move(name, path)


def in_new_folders(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")


def removed_before(path: Path) -> None:
    if path.exists():
        path.unlink()
    path.write_text("content")


def if_missing(path: Path) -> None:
    if not path.is_file():
        path.write_text("content")


def copied(path: Path) -> None:
    path.with_suffix(".tmp").write_text("content")
    shutil.copy(path.with_suffix(".tmp"), path)
    path.with_suffix(".tmp").unlink()


def with_mode(path: Path) -> None:
    path.write_text("content")
    path.chmod(0o600)


def in_threads(path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        pool.submit(path.write_text, "content").result()


def in_steps(path: Path) -> None:
    path.write_text("con")
    with path.open("a") as file:
        file.write("tent")


def by_numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(3))


def by_pandas(path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(path)


def resolved(path: Path) -> None:
    path.resolve().write_text("content")


GOOD = (
    *(opened, replaced, moved, in_new_folders, removed_before, if_missing, with_mode, copied, in_threads, in_steps),
    *(by_numpy, by_pandas, resolved),
)


def test_every_way_to_write(root: Path, executions: Counter[str]) -> None:
    names = {way: "new/folder/out" if way is in_new_folders else way.__name__ for way in GOOD}

    def body() -> None:
        for way, name in names.items():
            writing_of(way)(name)

    run(root, body)
    before = {name: (Path(name).read_bytes(), Path(name).stat().st_mode) for name in names.values()}
    for _ in range(2):
        for name in names.values():
            Path(name).unlink()
        shutil.rmtree("new")
        run(root, body)
        assert {name: (Path(name).read_bytes(), Path(name).stat().st_mode) for name in names.values()} == before
    assert executions == {way.__name__: 1 for way in GOOD}, why(root)


def writing_of(way: Callable[[Path], None]) -> Any:
    """A task of its own for each way, so that the code of no other counts."""

    @task(name=way.__name__)
    def wrote(name: str) -> DataFile:
        log.info(way.__name__)
        path = root_of(name)
        way(path)
        return DataFile(path)

    return wrote


def root_of(name: str) -> Path:
    return Path(os.environ["SHOP_ROOT"]) / name


@pytest.fixture(autouse=True)
def named_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_ROOT", str(root))


# What else counts ------------------------------------------------------------------------------------


def beside(path: Path) -> None:
    path.write_text("content")
    path.with_name("other").write_text("content")


def appended(path: Path) -> None:
    with path.open("a") as file:
        file.write("content")


def changed_mode(path: Path) -> None:
    path.chmod(0o600)


def read_before(path: Path) -> None:
    path.write_text(path.read_text() + "more")


def input_moved(path: Path) -> None:
    path.with_name("input").replace(path)


def input_removed(path: Path) -> None:
    path.write_text("content")
    path.with_name("input").unlink(missing_ok=True)


def in_processes(path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(path.write_text, "content").result()


BAD = (beside, appended, changed_mode, read_before, input_moved, input_removed, in_processes)


def test_what_else_a_body_does_counts(root: Path, executions: Counter[str]) -> None:
    for _ in range(2):
        for way in BAD:
            Path(way.__name__).write_text("before")
            Path("input").write_text("before")
            run(root, lambda way=way: writing_of(way)(way.__name__))  # type: ignore[misc]
    assert executions == {way.__name__: 2 for way in BAD}


def counted(path: Path) -> None:
    before = int(path.read_text()) if path.exists() else 0
    path.write_text(str(before + 1))


def collected(path: Path) -> None:
    with path.open("a") as file:
        file.write("x")


def test_what_depends_on_what_was_there_is_executed_each_time(root: Path, executions: Counter[str]) -> None:
    for number in (1, 2, 3):
        for way in (counted, collected):
            run(root, lambda way=way: writing_of(way)(way.__name__))  # type: ignore[misc]
        assert (Path("counted").read_text(), Path("collected").read_text()) == (str(number), "x" * number)
    assert executions == {"counted": 3, "collected": 3}


def test_a_file_that_is_written_if_it_is_missing(root: Path, executions: Counter[str]) -> None:
    """It is executed once more, when the file is there; a hit from then on, and when it is missing again."""
    for number in (1, 2, 2):
        run(root, lambda: writing_of(if_missing)("part"))
        assert executions == {"if_missing": number}
        assert Path("part").read_text() == "content"
    Path("part").unlink()
    run(root, lambda: writing_of(if_missing)("part"))
    assert Path("part").read_text() == "content"


@task
def into(folder: str, names: list[str]) -> DataFile:
    log.info("into")
    path = root_of(folder)
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_text(name)
    return DataFile(path)


@task
def afresh(folder: str, names: list[str]) -> DataFile:
    log.info("afresh")
    path = root_of(folder)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name in names:
        (path / name).write_text(name)
    return DataFile(path)


def test_a_folder_with_files_of_earlier_calls(root: Path, executions: Counter[str], caplog: Any) -> None:
    run(root, lambda: into("report", ["a", "b"]))
    shutil.rmtree("report")
    run(root, lambda: into("report", ["a", "b"]))
    assert executions["into"] == 1
    assert sorted(os.listdir("report")) == ["a", "b"]  # noqa: PTH208 - names
    for _ in range(2):
        run(root, lambda: into("report", ["a", "c"]))
    assert executions["into"] == 3
    assert "report contains b, which it did not write" in caplog.text
    for _ in range(2):
        run(root, lambda: afresh("report", ["a", "c"]))
        run(root, lambda: into("report", ["a", "b"]))
    assert executions["afresh"] == 1
    assert executions["into"] == 3


@task
def linked(target: str) -> DataFile:
    log.info("linked")
    path = root_of("links")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / "file").write_text("content")
    (path / "link").symlink_to(target)
    return DataFile(path)


def test_links_that_lead_outside(root: Path, executions: Counter[str], caplog: Any) -> None:
    for _ in range(2):
        run(root, lambda: linked("file"))
    assert executions["linked"] == 1
    for _ in range(2):
        run(root, lambda: linked("/etc"))
    assert executions["linked"] == 3
    assert "symbolic link that leads outside" in caplog.text
    assert "leads outside" in why(root)["linked"]


# What is only passed on ------------------------------------------------------------------------------


@task
def newest(names: list[str]) -> DataFile:
    log.info("newest")
    return DataFile(root_of(names[-1]))


@task
def choose(files: list[DataFile]) -> DataFile:
    log.info("choose")
    return files[0]


def test_a_file_that_is_only_passed_on_is_never_touched(root: Path, executions: Counter[str]) -> None:
    made = Path("given")
    made.write_text("one")
    Path("folder").mkdir()
    Path("folder/file").write_text("one")

    def body() -> None:
        newest(["given"])
        newest(["folder"])
        choose([DataFile("given"), DataFile("folder")])

    run(root, body)
    run(root, body)
    assert executions == {"newest": 2, "choose": 1}
    assert not [info for info in Project.open(root).objects.list("cache/payloads/") if info.key.endswith(".file")]
    made.write_text("two")
    Path("folder/file").write_text("two")
    run(root, body)
    assert executions == {"newest": 4, "choose": 2}
    assert (made.read_text(), Path("folder/file").read_text()) == ("two", "two")
    made.unlink()
    shutil.rmtree("folder")
    run(root, lambda: (newest(["given"]), newest(["folder"])))
    assert executions["newest"] == 6
    assert not made.exists()


# Where it comes through ------------------------------------------------------------------------------


@task
def numbered(number: int) -> DataFile:
    log.info("numbered")
    path = root_of(f"part-{number}")
    path.write_text(str(number))
    return DataFile(path)


@task
def total(files: list[DataFile]) -> int:
    log.info("total")
    return sum(int(Path(file).read_text()) for file in files)


@task
async def waiting(number: int) -> DataFile:
    log.info("waiting")
    await asyncio.sleep(0)
    path = root_of("async")
    path.write_text(str(number))
    return DataFile(path)


@task
def around(number: int) -> int:
    log.info("around")
    return len(Path(numbered(number)).read_text())


@task
def handing_on(number: int) -> DataFile:
    log.info("handing_on")
    return numbered(number)


def test_through_threads_map_and_coroutines(root: Path, executions: Counter[str]) -> None:
    @flow(project=root, task_runner=ThreadPoolTaskRunner(max_workers=4))
    async def main() -> Any:
        parts: Any = numbered.map(range(4))
        return total(parts), await waiting(7)

    assert asyncio.run(main())[0] == 6
    for path in root.glob("part-*"):
        path.unlink()
    Path("async").unlink()
    assert asyncio.run(main())[0] == 6
    assert executions == {"numbered": 4, "total": 1, "waiting": 1}
    assert sorted(path.name for path in root.glob("part-*")) == [f"part-{n}" for n in range(4)]
    assert Path("async").read_text() == "7"


def test_a_task_around_is_cached_only_with_its_files(root: Path, executions: Counter[str]) -> None:
    for _ in range(3):
        Path("part-12").unlink(missing_ok=True)
        assert run(root, lambda: around(12)) == 2
        assert Path("part-12").exists()
    assert executions == {"around": 3, "numbered": 1}
    executions.clear()
    for _ in range(3):
        Path("part-13").unlink(missing_ok=True)
        run(root, lambda: handing_on(13))
        assert Path("part-13").read_text() == "13"
    # The first outer result came from a body in which the file was written, the second call is a hit.
    assert executions == {"handing_on": 1, "numbered": 1}


@flow(cached=True)
def made_inside(number: int) -> DataFile:
    log.info("made_inside")
    return numbered(number)


@task(retries=1)
def at_second_try(name: str) -> DataFile:
    log.info("at_second_try")
    path = root_of(name)
    path.write_text("half" if not path.exists() else "whole")
    if path.read_text() == "half":
        raise ValueError(name)
    return DataFile(path)


def test_cached_subflows_hand_on_files(root: Path, executions: Counter[str]) -> None:
    for _ in range(2):
        run(root, lambda: made_inside(5))
        assert Path("part-5").read_text() == "5"
        Path("part-5").unlink()
    assert executions == {"made_inside": 1, "numbered": 1}


def test_a_failed_attempt_leaves_no_result(root: Path, executions: Counter[str]) -> None:
    run(root, lambda: at_second_try("tried"))
    assert (Path("tried").read_text(), executions["at_second_try"]) == ("whole", 2)


def test_a_relative_path_belongs_to_its_folder(root: Path, executions: Counter[str], monkeypatch: Any) -> None:
    run(root, lambda: formed("list"))
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    run(root, lambda: formed("list"))
    assert executions["formed"] == 2
    assert Path("list.txt").read_text() == "list"


@task(cache_policy=EXPOPS)
def requested(name: str) -> DataFile:
    log.info("requested")
    path = root_of(name)
    path.write_text("content")
    path.with_name("side").write_text("content")
    return DataFile(path)


def test_what_was_asked_for_is_cached_with_its_files(root: Path, executions: Counter[str]) -> None:
    run(root, lambda: requested("out"))
    for name in ("out", "side"):
        Path(name).unlink()
    run(root, lambda: requested("out"))
    assert executions["requested"] == 1
    assert (Path("out").exists(), Path("side").exists()) == (True, False)


@pytest.mark.parametrize("default", ["all", "none"])
def test_other_rules(tmp_path: Path, executions: Counter[str], default: str) -> None:
    root = make_project(tmp_path / "other", f"prefect: {{project_id: shop, cache: {{default: {default}}}}}\n")
    for _ in range(2):
        run(root, lambda: numbered(3))
        root_of("part-3").unlink()
    assert executions["numbered"] == (1 if default == "all" else 2)


def test_a_changed_file_is_refused(tmp_path: Path, executions: Counter[str]) -> None:
    root = make_project(tmp_path / "other", "prefect: {project_id: shop, cache: {files: refuse}}\n")
    run(root, lambda: numbered(3))
    root_of("part-3").write_text("of somebody")
    run(root, lambda: numbered(3))
    assert executions["numbered"] == 2, "as with Prefect alone, it writes the file itself"
    assert "prefect.cache.files is refuse" in why(root)["numbered"]


# What becomes of what is stored ----------------------------------------------------------------------


def contents(project: Project) -> list[str]:
    return sorted(info.key for info in project.objects.list("cache/payloads/") if info.key.endswith(".file"))


def test_files_are_kept_verified_and_collected(root: Path, executions: Counter[str]) -> None:
    run(root, lambda: (numbered(1), numbered(2), afresh("report", ["1", "b"])))
    project = Project.open(root)
    assert len(contents(project)) == 3, "equal files are stored once"
    collect(project, at_once=True)
    assert len(contents(project)) == 3
    assert verify(project).broken == ()
    doomed = project.objects.path(contents(project)[0])
    assert doomed is not None
    doomed.chmod(0o644)
    doomed.write_bytes(b"!")
    (broken, *_) = verify(project).broken
    assert broken.damaged == (contents(project)[0],)
    assert verify(project, repair=True).repaired
    assert verify(project).broken == ()
    shutil.rmtree("report")
    run(root, lambda: (numbered(1), numbered(2), afresh("report", ["1", "b"])))
    assert sorted(os.listdir("report")) == ["1", "b"]  # noqa: PTH208 - names
    assert len(contents(project)) == 3
    invalidate(project, Selection(process="afresh"))
    collect(project, at_once=True)
    assert len(contents(project)) == 2, "those of the other two tasks"
    collect(project, Policy(keep_last=1), at_once=True)
    assert len(contents(project)) == 1


def test_a_damaged_file_is_computed_again(root: Path, executions: Counter[str]) -> None:
    run(root, lambda: numbered(1))
    project = Project.open(root)
    (key,) = contents(project)
    path = project.objects.path(key)
    assert path is not None
    path.unlink()
    Path("part-1").unlink()
    run(root, lambda: numbered(1))
    assert executions["numbered"] == 2
    assert "is gone" in why(root)["numbered"]
    Path("part-1").unlink()
    run(root, lambda: numbered(1))
    assert executions["numbered"] == 2


def test_copies_have_the_files(root: Path, tmp_path: Path, executions: Counter[str]) -> None:
    folder = [f"{number:050}" for number in range(300)]
    run(root, lambda: (numbered(1), afresh("report", folder)))
    source = Project.open(root)
    source.outbox.flush(10)
    target = Project(settings_of(tmp_path / "target" / "shop", "prefect: {project_id: shop}\n"))
    assert copy_project(source, target).records == 2
    assert contents(target) == contents(source)
    assert verify(target).broken == ()
    other = Project(settings_of(tmp_path / "third" / "shop", "prefect: {project_id: shop}\n"))
    for key in contents(source)[:1]:
        source.objects.delete(key)
    assert copy_project(source, other).records < 2, "no record without its files"
    for project in (target, other):
        project.close(1)


def test_the_list_of_files_names_no_secret_place(root: Path, executions: Counter[str]) -> None:
    run(root, lambda: numbered(1))
    project = Project.open(root)
    (value,) = [value for _, value in project.kv.scan("process:")]
    assert isinstance(value, dict)
    (item,) = file_lists.load(str(value["file_list"]))
    assert item.path == "part-1"
    assert value["format"] == 3
    assert str(root) not in str({**value, "cache_path": ""})


# Declared outputs ------------------------------------------------------------------------------------


@task(outputs=["models/{name}.pkl", "report/"])
def declared(name: str, size: int = 2) -> None:
    log.info("declared")
    path = Path("models") / f"{name}.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    Path("report").mkdir(exist_ok=True)
    for number in range(size):
        Path("report", f"{name}-{number}").write_text(name)


@task(outputs=[Path("models/{name}.pkl")])
def partly(name: str) -> int:
    log.info("partly")
    Path(f"models/{name}.pkl").write_text("x")
    Path("beside.txt").write_text("x")
    return 1


@task(outputs=["parts/"])
def in_children(names: list[str]) -> int:
    log.info("in_children")
    Path("parts").mkdir(exist_ok=True)
    with ProcessPoolExecutor(1) as pool:
        for name in names:
            pool.submit(Path("parts", name).write_text, name).result()
    return len(names)


@task(outputs=["log.txt"])
def growing(line: str) -> int:
    log.info("growing")
    with Path("log.txt").open("a") as file:
        file.write(line)
    return 1


def test_declared_outputs_are_the_result(root: Path, executions: Counter[str]) -> None:
    Path("report").mkdir()
    Path("report/of-somebody").write_text("kept")
    run(root, lambda: (declared("a"), declared("b", 3)))
    made = {str(path): path.read_bytes() for path in (*root.glob("models/*"), *root.glob("report/*"))}
    assert len(made) == 8
    for _ in range(2):
        for path in (*root.glob("models/*"), *root.glob("report/[ab]*")):
            path.unlink()
        run(root, lambda: (declared("a"), declared("b", size=3)))
        assert {str(path): path.read_bytes() for path in (*root.glob("models/*"), *root.glob("report/*"))} == made
    assert executions["declared"] == 2
    other: Any = declared.with_options(outputs=["models/"])  # type: ignore[call-arg]
    run(root, lambda: other("a"))
    assert executions["declared"] == 3, "other outputs are another result"


def test_what_is_not_declared_counts(root: Path, executions: Counter[str], caplog: Any) -> None:
    Path("models").mkdir()
    with caplog.at_level(logging.INFO, "prefect.expops"):
        for _ in range(2):
            run(root, lambda: (partly("a"), growing("x"), in_children(["a", "b"])))
            Path("parts/b").unlink()
    assert executions == {"partly": 2, "growing": 2, "in_children": 1}
    (said,) = [line for line in caplog.messages if line.startswith("partly: it writes files")]
    assert said.endswith('declare them: outputs=["models/a.pkl", "beside.txt"]')


def test_outputs_that_cannot_be_meant() -> None:
    with pytest.raises(TypeError, match=r"write outputs=\['a'\]"):
        task(outputs="a")(partly.fn)
    with pytest.raises(ValueError, match="no parameter of the task"):
        task(outputs=["{nam}.pkl"])(partly.fn)
    with pytest.raises(ValueError, match=r"expected '}'"):
        task(outputs=["{name"])(partly.fn)
    known: Any = task(outputs=["{name:>4}-{name.real}{{}}"])(partly.fn)
    assert known.outputs == known.with_options(name="other").outputs == ("{name:>4}-{name.real}{{}}",)


@task
def leaves(name: str) -> int:
    log.info("leaves")
    Path(f"{name}.csv").write_text("x")
    Path("many").mkdir(exist_ok=True)
    for number in range(5):
        Path("many", f"{number}").write_text("x")
    Path("temporary").write_text("x")
    Path("temporary").unlink()
    return 1


def test_the_notice_names_the_very_paths(root: Path, executions: Counter[str], caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "prefect.expops"):
        run(root, lambda: (leaves("some rows"), leaves("others")))
    (said,) = [line for line in caplog.messages if line.startswith("leaves: it writes files")]
    assert said.endswith(
        "so it is executed every time; to cache it with its files, have it return them as DataFile, or declare them: "
        'outputs=["some rows.csv", "many/"]'
    )
