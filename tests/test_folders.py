"""Who may read and write what a project keeps on this machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from expops_prefect._internal.files import runtime_folder
from expops_prefect.project import Project
from expops_prefect.stores.outbox.changes import Put
from tests.config.support import make_project, settings_of

NOBODY, GROUP = 65_534, 4_321


def use(project: Project) -> None:
    """Make everything that a runtime folder holds."""
    project.kv.put("k", 1)
    project.objects.put("cache/payloads/aa/x", [b"x"], read_only=True)
    project.outbox.write_object("artifacts/x", b"x")
    project.outbox.write(Put("w", 2))
    assert project.outbox.flush(30)
    assert (project.settings.runtime_dir / "metrics.sqlite-wal").exists()
    assert list((project.settings.runtime_dir / "outbox").iterdir())


def modes(folder: Path) -> dict[str, int]:
    return {
        item.relative_to(folder.parent).as_posix(): stat.S_IMODE(item.stat().st_mode)
        for item in (folder, *folder.rglob("*"))
    }


def as_user(user: int, group: int, act: Callable[[], object], mask: int = 0o022) -> bool:
    """Whether a user can do something, in a child process."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            os.umask(mask)
            act()
        except BaseException:  # the child must not go on with the suite
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach; all that is imported here is imported, for they cannot read that."""
    folder = Path(tempfile.mkdtemp(prefix="expops-prefect-tests-"))
    use(Project(settings_of(folder / "imports")))
    (folder / "open").mkdir()
    folder.chmod(0o755)
    (folder / "open").chmod(0o755)
    yield folder / "open"
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mask", "folder", "file", "read_only"), [(0o022, 0o750, 0o640, 0o440), (0o077, 0o700, 0o600, 0o400)]
)
def test_nothing_is_open_to_others(reachable: Path, mask: int, folder: int, file: int, read_only: int) -> None:
    before = os.umask(mask)
    try:
        project = Project(settings_of(reachable / "shop"))
        use(project)
    finally:
        os.umask(before)
    found = modes(project.settings.runtime_dir)
    assert found.pop(".shop/cache/payloads/aa/x") == read_only
    for name, mode in found.items():
        assert mode == (folder if (project.settings.root / name).is_dir() else file), name
    assert not as_user(NOBODY, NOBODY, lambda: list(project.settings.runtime_dir.iterdir()))


def test_an_older_releases_folder_is_closed(reachable: Path) -> None:
    settings = settings_of(reachable / "shop")
    (settings.runtime_dir / "cache").mkdir(parents=True, mode=0o775)
    (settings.runtime_dir / "metrics.sqlite").touch(0o664)
    settings.runtime_dir.chmod(0o775)
    Project(settings)
    assert {mode & 0o007 for mode in modes(settings.runtime_dir).values()} == {0}
    assert (settings.runtime_dir / ".gitignore").read_text() == "*\n"


def test_a_folder_that_holds_something_else_is_left_alone(reachable: Path) -> None:
    (reachable / "cache").mkdir(mode=0o777)
    (reachable / "own.txt").touch()
    reachable.chmod(0o755)
    runtime_folder(reachable, True)
    assert stat.S_IMODE(reachable.stat().st_mode) == 0o755
    assert not (reachable / ".gitignore").exists()


def test_another_users_folder_fails_nothing(reachable: Path) -> None:
    settings = settings_of(reachable / "shop")
    Project(settings).kv.put("k", 1)
    settings.runtime_dir.chmod(0o755)
    assert as_user(NOBODY, NOBODY, lambda: Project(settings))
    assert stat.S_IMODE(settings.runtime_dir.stat().st_mode) == 0o755


@pytest.mark.parametrize("there_before", [False, True])
def test_a_group_shares_one_folder(reachable: Path, there_before: bool) -> None:
    config = "prefect: {project_id: shop, shared_group: true}"
    plain = settings_of(reachable / "shop")
    if there_before:
        use(Project(plain))
    settings = settings_of(reachable / "shop", config)
    reachable.joinpath("shop").chmod(0o777)
    if there_before:
        for item in (plain.runtime_dir, *plain.runtime_dir.rglob("*")):
            os.chown(item, NOBODY - 1, GROUP)

    def first() -> None:
        use(Project(settings))

    def second() -> None:
        project = Project(settings)
        assert project.kv.get("k") == 1
        use(project)
        assert project.objects.get("cache/payloads/aa/x") == b"x"

    assert as_user(NOBODY - 1, GROUP, first)
    assert as_user(NOBODY, GROUP, second)
    assert as_user(NOBODY - 1, GROUP, second)
    assert not as_user(NOBODY, NOBODY, lambda: list(settings.runtime_dir.iterdir()))


def test_a_group_that_does_not_exist_is_said(reachable: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = Project(settings_of(reachable / "shop", "prefect: {project_id: shop, shared_group: no-such-group}"))
    project.kv.put("k", 1)
    assert "no-such-group" in caplog.text
    assert project.kv.get("k") == 1


def test_git_does_not_see_it(reachable: Path) -> None:
    root = make_project(reachable / "shop", None)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    use(Project(settings_of(root, None)))
    said = subprocess.run(["git", "-C", str(root), "status", "--porcelain"], check=True, capture_output=True, text=True)
    assert said.stdout == ""
