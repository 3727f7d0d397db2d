"""Files and folders of a result, stored and put back: by any name, whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from expops_prefect.cache.files import restoring, storing, tree
from expops_prefect.cache.files.restoring import NotRestoredError
from expops_prefect.cache.files.tree import NotStorableError
from expops_prefect.effects.dependencies import ChangedMeanwhileError
from expops_prefect.errors import FormatError, IntegrityError, ObjectStoreError
from expops_prefect.fingerprint.files import DataFile, file_digest
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.project import Project
from expops_prefect.record import file_lists
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.file_lists import Entry, StoredPath
from expops_prefect.stores.objects.base import GRACE
from tests.config.support import open_project

NAMES = (
    "plain.txt",
    "with space and 'quotes'.csv",
    "ünï/日本/🎉.bin",
    "new\nline\ttab",
    "-rf",
    "x" * 250,
    os.fsdecode(b"not-utf8-\xff"),
    "a/" + "deep/" * 20 + "file",
)


def described(path: Path) -> dict[str, tuple[object, ...]]:
    """Names, kinds, modes and bytes of all that is at a path."""
    found: dict[str, tuple[object, ...]] = {}
    for each in (path, *sorted(path.rglob("*"), key=os.fsencode)):
        mode = stat.S_IMODE(each.lstat().st_mode)
        if each.is_symlink():
            found[str(each.relative_to(path))] = ("link", os.readlink(each))  # noqa: PTH115 - text
        else:
            found[str(each.relative_to(path))] = (mode, "folder" if each.is_dir() else each.read_bytes())
    return found


class Kept:
    """Files that were stored by a project."""

    def __init__(self, project: Project, *paths: Path) -> None:
        self.project = project
        scanned = [(str(path), tree.scan(str(path), project.data_rules())) for path in paths]
        now = time.time()
        plain = CacheRecord("completed", "", "", "", now, now, 0.0, "", "", 0, "", "packed")
        self.record = storing.with_list(project, plain, storing.store(project, scanned))

    def restore(self, project: Project | None = None) -> list[str]:
        by = project or self.project
        return restoring.restore(by, self.record, file_lists.of_record(self.record, by.objects.get))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return open_project(tmp_path / "shop")


@pytest.fixture
def ruled(tmp_path: Path) -> Callable[[str], Project]:
    def by(rule: str) -> Project:
        return open_project(tmp_path / "shop", f"prefect: {{project_id: shop, cache: {{files: {rule}}}}}\n")

    return by


def made(root: Path, name: str, content: bytes = b"content", mode: int = 0o640) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def named(folder: Path, text: str) -> list[Path]:
    """What is in a folder with a text in its name."""
    return [each for each in folder.iterdir() if text in each.name]


def leftovers(folder: Path) -> list[Path]:
    return named(folder, ".tmp-") + named(folder, ".changed-")


# Names, contents and modes ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_comes_back(project: Project, name: str) -> None:
    path = made(project.settings.root, name, b"\0content", 0o604)
    kept, before = Kept(project, path), path.stat()
    assert kept.restore() == [str(path)]
    assert path.stat().st_ino == before.st_ino, "it was there already"
    shutil.rmtree(path.parent) if path.parent != project.settings.root else path.unlink()
    kept.restore()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"\0content", 0o604)
    assert leftovers(path.parent) == []


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1, (24 << 20) + 17])
def test_a_file_of_any_size_is_stored_once(project: Project, size: int) -> None:
    content = os.urandom(size)
    one, two = made(project.settings.root, "one", content), made(project.settings.root, "two", content)
    kept = Kept(project, one, two)
    stored = [info for info in project.objects.list("cache/payloads/") if info.key.endswith(".file")]
    assert [info.size for info in stored] == [size]
    one.unlink()
    two.write_bytes(content[:-1])
    kept.restore()
    assert one.read_bytes() == two.read_bytes() == content
    assert leftovers(project.settings.root / ".shop") == []


def test_a_folder_comes_back_as_a_tree(project: Project) -> None:
    folder = project.settings.root / "report"
    for name in NAMES:
        made(folder, name, name.encode("utf-8", "surrogateescape"), 0o600)
    made(folder, "tool", b"#!", 0o755)
    made(folder, ".DS_Store")
    (folder / "empty").mkdir(mode=0o700)
    (folder / "link").symlink_to("tool")
    (folder / "a" / "up").symlink_to("../empty")
    (folder / "dangling").symlink_to("nothing")
    (folder / "a").chmod(0o555)
    before, digest = described(folder), fingerprint(DataFile(folder))
    kept = Kept(project, folder)
    (folder / "a").chmod(0o755)
    assert kept.restore()
    assert described(folder) == before, "only permissions differed"
    (folder / "a").chmod(0o755)
    shutil.rmtree(folder)
    kept.restore()
    after = described(folder)
    assert before.pop(".DS_Store")
    assert after == before
    assert fingerprint(DataFile(folder)) == digest
    assert leftovers(project.settings.root) == []


def test_a_long_list_is_an_object_of_its_own(project: Project) -> None:
    folder = project.settings.root / "many"
    for number in range(400):
        made(folder, f"{number:040}", b"%d" % (number % 3))
    kept = Kept(project, folder)
    (listed,) = kept.record.payloads
    assert kept.record.file_list == listed.key
    shutil.rmtree(folder)
    kept.restore()
    assert len(list(folder.iterdir())) == 400
    path = project.objects.path(listed.key)
    assert path is not None
    path.unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        kept.restore()


@pytest.mark.parametrize("kind", ["outside", "absolute", "through a link", "pipe", "itself", "missing"])
def test_what_cannot_be_put_back_is_not_stored(project: Project, kind: str) -> None:
    folder = project.settings.root / "report"
    made(folder, "a/file")
    if kind == "outside":
        (folder / "link").symlink_to("../other")
    elif kind == "absolute":
        (folder / "link").symlink_to(folder / "a")
    elif kind == "through a link":
        (project.settings.root / "elsewhere").mkdir()
        (folder / "a" / "out").symlink_to("../../elsewhere")
    elif kind == "pipe":
        os.mkfifo(folder / "pipe")
    place = folder
    if kind == "itself":
        place = project.settings.root / "link"
        place.symlink_to("report")
    if kind == "missing":
        with pytest.raises(FileNotFoundError):
            Kept(project, folder / "nowhere")
        return
    with pytest.raises(NotStorableError, match=r"link|neither a file nor a folder"):
        Kept(project, place)


def test_what_changes_while_it_is_stored_is_not_stored(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(project.settings.root, "file")
    scanned = [(str(path), tree.scan(str(path), project.data_rules()))]
    path.write_bytes(b"changed")
    with pytest.raises(ChangedMeanwhileError, match="file was changed"):
        storing.store(project, scanned)
    folder = made(project.settings.root, "folder/one").parent
    scanned = [(str(folder), tree.scan(str(folder), project.data_rules()))]
    made(folder, "two")
    with pytest.raises(ChangedMeanwhileError, match="folder was changed"):
        storing.store(project, scanned)


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Entry("", "link", target="x"),),
        (Entry("x", "file", digest="0" * 64),),
        (Entry("", "file", digest="nothing"),),
        *((Entry("", "folder"), Entry(name, "folder")) for name in ("..", "../x", "/x", "a//b", "a/../..", ".", "a\0")),
        (Entry("", "folder"), Entry("a", "link", target=".."), Entry("a/b", "folder")),
        (Entry("", "folder"), Entry("a", "link", target="../x")),
        (Entry("", "folder"), Entry("a", "link", target="/etc")),
        (Entry("", "folder"), Entry("a", "folder"), Entry("a", "folder")),
        (Entry("", "file", digest="0" * 64), Entry("a", "folder")),
    ],
)
def test_a_list_leads_nowhere_else(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(FormatError, match="damaged list of files"):
        file_lists.load(file_lists.dump((StoredPath("out", entries),)))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version":2,"paths":[]}', '{"version":1,"paths":[["a"]]}'])
def test_a_list_that_cannot_be_read(text: str) -> None:
    with pytest.raises(FormatError, match="list of files"):
        file_lists.load(text)


# What somebody changed -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["keep", "replace", "refuse"])
@pytest.mark.parametrize("kind", ["file", "folder", "long name", "a folder in place of a file", "a link"])
def test_what_somebody_changed(
    ruled: Callable[[str], Project], rule: Literal["keep", "replace", "refuse"], kind: str, caplog: Any
) -> None:
    project = ruled(rule)
    root = project.settings.root
    name = "x" * 255 if kind == "long name" else "result"
    path = made(root, name)
    if kind == "folder":
        path.unlink()
        made(path, "in/file")
    kept, before = Kept(project, path), described(path)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind.endswith("file") and kind != "file":
        made(path, "somebody's", b"of somebody")
    elif kind == "a link":
        path.symlink_to(made(root, "other", b"content"))
    elif kind == "folder":
        made(path, "in/file", b"content")
        made(path, "notes", b"of somebody")
    else:
        path.write_bytes(b"of somebody")
    changed = described(path)
    with caplog.at_level(logging.WARNING, "prefect.expops"):
        if rule == "refuse":
            with pytest.raises(NotRestoredError, match=r"files is refuse"):
                kept.restore()
            assert described(path) == changed
        else:
            kept.restore()
            assert described(path) == before
            kept.restore()
    aside = named(root, ".changed-")
    assert [described(each) for each in aside] == ([changed] if rule == "keep" else [])
    said = [record.getMessage() for record in caplog.records if "changed files kept" in record.getMessage()]
    assert len(said) == (1 if rule == "keep" else 0)
    assert named(root, ".tmp-") == []


def test_what_the_cache_has_is_replaced_without_asking(ruled: Callable[[str], Project]) -> None:
    project = ruled("refuse")
    path = made(project.settings.root, "out", b"one")
    one = Kept(project, path)
    path.write_bytes(b"two")
    two = Kept(project, path)
    for kept, content in ((one, b"one"), (two, b"two"), (one, b"one")):
        kept.restore()
        assert path.read_bytes() == content


def test_a_kept_file_is_kept_once(project: Project) -> None:
    path = made(project.settings.root, "out")
    kept = Kept(project, path)
    for _ in range(3):
        path.write_bytes(b"of somebody")
        kept.restore()
    assert len(leftovers(project.settings.root)) == 1


# What goes wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "changed", "shorter"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_damaged_content_is_not_put_back(project: Project, damage: str, kind: str) -> None:
    path = made(project.settings.root, "out/one").parent if kind == "folder" else made(project.settings.root, "out")
    if kind == "folder":
        made(path, "two", b"another")
    kept = Kept(project, path)
    (entry,) = [e for item in file_lists.load(kept.record.file_list) for e in item.entries if e.name in ("", "one")][
        -1:
    ]
    stored = project.objects.path(entry.key)
    assert stored is not None
    stored.chmod(0o644)
    stored.unlink() if damage == "gone" else stored.write_bytes(b"CONTENT" if damage == "changed" else b"")
    assert kept.restore(), "nothing was missing"
    shutil.rmtree(path) if kind == "folder" else path.unlink()
    with pytest.raises(IntegrityError, match=r"is gone|was changed"):
        kept.restore()
    assert not path.exists()
    assert leftovers(project.settings.root) == []
    # Computed again, it is stored again.
    again = made(project.settings.root, "again")
    other = Kept(project, again)
    again.unlink()
    other.restore()
    assert again.read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_full_disk_leaves_nothing(project: Project, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(project.settings.root, "out/one").parent if kind == "folder" else made(project.settings.root, "out")
    kept = Kept(project, path)
    shutil.rmtree(path) if kind == "folder" else path.unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(NotRestoredError, match="No space left"):
            kept.restore()
    assert not path.exists()
    assert leftovers(project.settings.root) == []
    kept.restore()
    assert path.exists()


def test_a_full_disk_of_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(project.settings.root, "large", bytes(9 << 20))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storing, "open_new", full)
    with pytest.raises(ObjectStoreError, match="No space left"):
        Kept(project, path)


def test_a_place_that_cannot_be_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(project.settings.root, "folder/out")
    kept = Kept(project, path)
    shutil.rmtree(path.parent)
    path.parent.write_text("a file is in the way")
    with pytest.raises(NotRestoredError, match="out cannot be put back"):
        kept.restore()
    path.parent.unlink()

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)  # root may write into a read-only folder
    with pytest.raises(NotRestoredError, match="Permission denied"):
        kept.restore()


def test_what_killed_processes_left_is_swept(project: Project) -> None:
    path = made(project.settings.root, "out")
    kept = Kept(project, path)
    path.unlink()

    target = restoring._Target(project, file_lists.load(kept.record.file_list)[0], str(path), 0)
    old = Path(path.parent, f"{target._temporary}old")
    made(old, "in/folder")
    young = made(path.parent, f"{target._temporary}young")
    other = made(path.parent, ".tmp-other")
    real = os.lstat
    aged = GRACE + 1

    def lstat(place: Any, **more: Any) -> Any:
        found = real(place, **more)
        if os.fspath(place) != str(old):
            return found
        fields = list(found)
        return os.stat_result((*fields[:9], fields[9] - aged))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "lstat", lstat)
        kept.restore()
    assert [each.exists() for each in (path, old, young, other)] == [True, False, True, True]


# Side by side, and elsewhere -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, 2 << 20], ids=["small", "large"])
def test_hard_links_where_asked_for(tmp_path: Path, size: int) -> None:
    """The stored file stands there, read-only, and stays so; without the setting it is a copy again."""
    linking = open_project(tmp_path / "shop", "prefect: {project_id: shop, cache: {hard_links: true}}\n")
    folder = tmp_path / "shop" / "out"
    path, program = made(folder, "part.bin", b"x" * size), made(folder, "run.sh", b"#!/bin/sh\n", 0o755)
    kept = Kept(linking, folder)
    entries = file_lists.of_record(kept.record, linking.objects.get)[0].entries
    (entry,) = (one for one in entries if one.name == "part.bin")
    stored = linking.objects.path(entry.key)
    assert stored is not None
    shutil.rmtree(folder)
    for _ in range(2):
        kept.restore()
        assert path.samefile(stored)
        assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0
        assert stat.S_IMODE(program.stat().st_mode) == 0o755
    kept.restore(open_project(tmp_path / "shop", "prefect: {project_id: shop}\n"))
    assert not path.samefile(stored)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(stored.stat().st_mode) & 0o222 == 0
    assert path.read_bytes() == stored.read_bytes() == b"x" * size


@pytest.mark.parametrize("kind", ["missing", "changed"])
def test_several_at_once_put_one_path_back(project: Project, kind: str) -> None:
    root = project.settings.root
    folder, file = made(root, "report/a").parent, made(root, "out", bytes(1 << 20))
    made(folder, "b", b"other")
    kept, before = Kept(project, folder, file), (described(folder), described(file))
    found: set[bytes] = set()
    for _ in range(5):
        if kind == "missing":
            shutil.rmtree(folder)
            file.unlink()
        else:
            made(folder, "a", b"of somebody")
            file.write_bytes(b"of somebody")
        with ThreadPoolExecutor(5) as pool:
            restoring_them = [pool.submit(kept.restore) for _ in range(4)]
            while not all(each.done() for each in restoring_them):
                found.add(file.read_bytes() if file.exists() else b"")
        assert all(each.result() for each in restoring_them)
        assert (described(folder), described(file)) == before
    assert found <= {b"", b"of somebody", bytes(1 << 20)}, "half a file under its name"
    assert named(root, ".tmp-") == []
    contents = [described(each) for each in named(root, ".changed-")]
    assert all(b"of somebody" in str(content).encode() for content in contents), "what was put back was not changed"
    # Of the file, whose name tells its content, one; of the folder, one each time.
    assert len(contents) == (6 if kind == "changed" else 0)


def test_below_the_root_means_the_same_everywhere(tmp_path: Path) -> None:
    one, two = open_project(tmp_path / "one" / "shop"), open_project(tmp_path / "two" / "shop")
    inside, outside = made(one.settings.root, "models/m.bin"), made(tmp_path, "outside.bin")
    kept = Kept(one, inside, outside)
    assert [item.path for item in file_lists.load(kept.record.file_list)] == ["models/m.bin", str(outside)]
    shutil.copytree(one.settings.runtime_dir, two.settings.runtime_dir, dirs_exist_ok=True)
    outside.unlink()
    there = two.settings.root / "models/m.bin"
    assert kept.restore(two) == [str(there), str(outside)]
    assert there.read_bytes() == outside.read_bytes() == b"content"


def test_a_restored_file_is_not_read_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(project.settings.root, "out", bytes(1000))
    kept = Kept(project, path)
    path.unlink()
    kept.restore()
    digest = file_digest(path)
    reads: list[str] = []

    def threads_for(size: int) -> int:
        reads.append(str(size))
        return 1

    monkeypatch.setattr("expops_prefect.fingerprint.files.threads_for", threads_for)
    assert file_digest(path) == digest
    assert reads == []
    with path.open("r+b") as file:  # at once, of the same size
        file.write(b"x")
    assert file_digest(path) != digest
    assert reads == ["1000"]
