from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from expops_prefect._internal.files import make_folder
from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.local.files import alone
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects, object_machine


class Files:
    """The same objects as plain files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes | None:
        file = self.root / key
        return file.read_bytes() if file.is_file() else None

    def write(self, key: str, data: bytes) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).unlink(missing_ok=True)
        (self.root / key).write_bytes(data)

    def keys(self) -> set[str]:
        return {file.relative_to(self.root).as_posix() for file in self.root.rglob("*") if file.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "made when needed" / ".project"


@pytest.fixture
def store(root: Path) -> LocalObjects:
    return LocalObjects(root)


@pytest.fixture
def raw(root: Path) -> RawObjects:
    return Files(root)


class TestConformance(ObjectConformance):
    pass


TestMachine = object_machine(lambda: LocalObjects(Path(tempfile.mkdtemp()))).TestCase


def run(root: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = "import sys\nfrom pathlib import Path\n"
    script += "from expops_prefect.stores.objects.local.store import LocalObjects\n"
    script += f"store = LocalObjects(Path({str(root)!r}))\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)


def temporaries(root: Path) -> list[str]:
    return [file.name for file in root.rglob("*") if file.name.startswith(".tmp-")]


def test_path_and_uri(root: Path, store: LocalObjects) -> None:
    store.put("a/k", [b"v"])
    assert store.path("a/k") == root / "a/k"
    assert store.uri("a/k") == str(root / "a/k")
    assert store.path("a") is None


def test_relative_root_does_not_follow_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalObjects(Path("sub"))
    monkeypatch.chdir("/")
    store.put("k", [b"v"])
    assert (tmp_path / "sub/k").read_bytes() == b"v"


def test_modes(root: Path, store: LocalObjects) -> None:
    old = os.umask(0o027)
    try:
        store.put("r", [b""], read_only=True)
        store.create("c", [b""], read_only=True)
        store.put("w", [b""])
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in "rcw"}
    assert modes == {"r": 0o440, "c": 0o440, "w": 0o640}
    os.umask(0o022)
    try:
        store.put("r", [b""], read_only=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "r").stat().st_mode) == 0o440


def test_stamp_tells_of_a_change_in_place_that_hides_its_time(root: Path, store: LocalObjects) -> None:
    before = store.put("k", [b"one"])
    status = (root / "k").stat()
    with (root / "k").open("r+b") as file:
        file.write(b"two")
    os.utime(root / "k", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = store.stat("k")
    assert after is not None
    assert after.size == before.size
    assert after.stamp != before.stamp


def test_create_keeps_the_stamp_it_returned(store: LocalObjects) -> None:
    # The temporary name is a second link to the file: removing it later would change the ctime.
    assert store.create("a/k", [b"v"]) == store.stat("a/k")


@pytest.mark.parametrize(("call", "event"), [("put", "os.rename"), ("create", "os.link")])
def test_killed_writer(root: Path, store: LocalObjects, call: str, event: str) -> None:
    store.put("a/old", [b"old"])
    killed = run(
        root,
        """
        import os, signal
        call, event = sys.argv[1:]
        sys.addaudithook(lambda name, arguments: os.kill(os.getpid(), signal.SIGKILL) if name == event else None)
        getattr(store, call)("a/old" if call == "put" else "a/new", [b"x" * 100_000])
        """,
        call,
        event,
    )
    assert killed.returncode == -9, killed.stderr
    assert [info.key for info in store.list("")] == ["a/old"]
    assert store.get("a/old") == b"old"
    assert len(temporaries(root)) == 1
    assert store.sweep(older_than_seconds=3600) == 0
    assert store.sweep(older_than_seconds=-1) == 1
    assert temporaries(root) == []
    assert store.get("a/old") == b"old"


def test_file_too_large_for_the_limit(root: Path, store: LocalObjects) -> None:
    store.put("k", [b"old"])
    result = run(
        root,
        """
        import resource
        from expops_prefect.errors import ObjectStoreError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            store.put("k", [b"x" * 9_000, b"y" * 9_000])
        except ObjectStoreError as error:
            assert isinstance(error.__cause__, OSError)
            print(error)
        """,
    )
    assert "cannot write 'k'" in result.stdout, result.stderr
    assert store.get("k") == b"old"
    assert temporaries(root) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "cache gc"), (errno.EROFS, "EXPOPS_RUNTIME_DIR"), (errno.EACCES, "runtime_dir")],
)
def test_errors_say_what_to_do(store: LocalObjects, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ObjectStoreError, match=words):
        store.put("k", [b"v"])


def test_a_file_where_a_folder_should_be(root: Path, store: LocalObjects) -> None:
    store.put("a", [b"v"])
    assert store.get("a/b") is None
    assert store.stat("a/b") is None
    assert store.delete("a/b") is False
    with pytest.raises(ObjectStoreError):
        store.put("a/b", [b"v"])
    store.put("c/d", [b"v"])
    for call in (store.put, store.create):
        with pytest.raises(ObjectStoreError):
            call("c", [b"v"])
    assert store.get("c") is None
    assert store.delete("c") is False
    assert temporaries(root) == []


def test_links_out_of_the_root_are_refused(root: Path, store: LocalObjects, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put("k", [b"v"])
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    for key in ("folder/secret", "file"):
        for read in (store.get, store.stat, store.path):
            with pytest.raises(ObjectStoreError, match="symbolic link"):
                read(key)
    for call in (store.put, store.create):
        with pytest.raises(ObjectStoreError, match="symbolic link"):
            call("folder/new", [b"v"])
    with pytest.raises(ObjectStoreError, match="symbolic link"):
        store.delete("folder/secret")
    assert [info.key for info in store.list("")] == ["k"]
    store.put("file", [b"new"])  # takes the link's place
    assert store.get("file") == b"new"
    assert {file.name: file.read_bytes() for file in outside.iterdir()} == {"secret": b"secret"}


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = LocalObjects(tmp_path / "link")
    store.put("a/k", [b"v"])
    assert store.get("a/k") == b"v"


def test_without_hard_links(store: LocalObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    made = store.create("k", [b"v"])
    assert made == store.stat("k")
    assert store.create("k", [b"w"]) is None
    assert store.get("k") == b"v"


def test_delete_removes_empty_folders_only(root: Path, store: LocalObjects) -> None:
    store.put("a/b/c/k", [b"v"])
    store.put("a/k", [b"v"])
    store.delete("a/b/c/k")
    assert not (root / "a/b").exists()
    assert store.get("a/k") == b"v"
    store.delete("a/k")
    assert root.exists()
    assert list(root.iterdir()) == []


def test_writers_against_deletions_of_their_folder(store: LocalObjects) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(150):
                store.put(f"deep/er/{name}", [b"v"])
                assert store.get(f"deep/er/{name}") == b"v"
                store.delete(f"deep/er/{name}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_special_files_are_no_objects(root: Path, store: LocalObjects) -> None:
    store.put("k", [b"v"])
    os.mkfifo(root / "pipe")
    assert store.get("pipe") is None
    assert store.stat("pipe") is None
    assert [info.key for info in store.list("")] == ["k"]


@pytest.fixture
def _folders_cannot_be_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS."""
    lock = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("_folders_cannot_be_locked")
def test_where_folders_cannot_be_locked_a_file_is(root: Path, store: LocalObjects) -> None:
    info = store.put("a/k", [b"v"])
    with alone(str(root)), (root / ".tmp-lock").open("r+b") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert store.sweep(older_than_seconds=-1) == 0, "the lock is no unfinished write"
    assert store.delete("a/k", stamp=info.stamp) is True
    assert list(store.list("")) == []


def test_without_any_locks_nothing_is_removed_by_its_stamp(
    store: LocalObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    info = store.put("a/k", [b"v"])
    refreshed = store.refresh("a/k")
    assert refreshed is not None
    assert refreshed.stamp != info.stamp
    with pytest.raises(ObjectStoreError, match="No locks available"):
        store.delete("a/k", stamp=refreshed.stamp)
    assert store.get("a/k") == b"v"
    assert store.delete("a/k") is True


def test_a_folder_that_comes_and_goes_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by somebody else after our look, and removed before the next."""
    make, left = os.mkdir, [True]

    def late(path: str, mode: int = 0o777) -> None:
        if left.pop() if left else False:
            raise FileExistsError(path)
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", late)
    make_folder(tmp_path / "once")
    make_folder(tmp_path / "once")
    assert (tmp_path / "once").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
