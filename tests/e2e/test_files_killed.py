"""Processes that are killed while they store and put back files: nothing half under its name, nothing lost."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from blake3 import blake3

from expops_prefect.cache.files import restoring, storing, tree
from expops_prefect.project import Project
from expops_prefect.record import file_lists
from expops_prefect.record.cache_records import CacheRecord
from tests.support.processes import FlowProject

WORK = """
import itertools, json, os, shutil
from pathlib import Path
from expops_prefect.cache.files import restoring, storing, tree
from expops_prefect.project import Project
from expops_prefect.record import file_lists
from expops_prefect.record.cache_records import CacheRecord

project = Project.open(".")
record = CacheRecord("completed", "", "", "", 0.0, 0.0, 0.0, "", "", 0, "", "packed")
versions = [file_lists.load(text) for text in json.loads(Path("versions.json").read_text())]
fresh = Path("fresh")
print("ready", flush=True)
for number in itertools.count():
    restoring.restore(project, record, versions[number % 2])
    fresh.mkdir(exist_ok=True)
    for name, size in (("small", 100), ("large", 9 << 20)):
        (fresh / name).write_bytes(os.urandom(size))
    storing.store(project, [(str(fresh.absolute()), tree.scan(str(fresh.absolute()), project.data_rules()))])
    if number % 3 == 0:
        for name in ("out", "folder"):
            os.rename(name, f"{name}-old")
            shutil.rmtree(f"{name}-old") if name == "folder" else os.unlink(f"{name}-old")
"""
RECORD = CacheRecord("completed", "", "", "", 0.0, 0.0, 0.0, "", "", 0, "", "packed")
ROUNDS = 200


def written(root: Path, version: int) -> None:
    """One of the two versions of a file and of a folder."""
    (root / "out").write_bytes(b"%d" % version * 300_000)
    folder = root / "folder"
    for number in range(20):
        path = folder / f"part-{number % 4}" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % version * 1000)


def found(root: Path) -> tuple[bytes | None, dict[str, bytes] | None]:
    """What is there of the file and of the folder; ``None`` for nothing."""
    out, folder = root / "out", root / "folder"
    return (
        out.read_bytes() if out.exists() else None,
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        if folder.exists()
        else None,
    )


@pytest.mark.nightly
@pytest.mark.local
@pytest.mark.timeout(1800)
def test_nothing_half_and_nothing_lost(tmp_path: Path, flow_processes: None) -> None:
    shop = FlowProject(tmp_path, "prefect: {project_id: shop}\n")
    root = shop.root
    shop.write("work.py", WORK)
    project = shop.project()
    versions, whole = [], []
    for version in (1, 2):
        written(root, version)
        paths = [(str(root / name), tree.scan(str(root / name), project.data_rules())) for name in ("out", "folder")]
        versions.append(storing.store(project, paths))
        whole.append(found(root))
    (root / "versions.json").write_text(json.dumps([file_lists.dump(version) for version in versions]))
    chance, somebodys = random.Random(1), set[bytes]()
    for number in range(ROUNDS):
        if number % 4 == 0:
            somebodys.add(b"of somebody %d" % number)
            (root / "out").write_bytes(b"of somebody %d" % number)
        process = shop.start("work.py")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.communicate()
        out, folder = found(root)
        assert out in {None, whole[0][0], whole[1][0]} | somebodys, "half a file"
        assert folder in (None, whole[0][1], whole[1][1]), "half a folder"
        check_objects(project)
        kept = {path.read_bytes() for path in root.glob("out.changed-*")}
        assert somebodys <= kept | {out}, "what somebody wrote is lost"
        wanted = number % 2
        restoring.restore(project, RECORD, versions[wanted])
        assert found(root) == whole[wanted]


def check_objects(project: Project) -> None:
    """Every stored file has the content that its name says."""
    for info in project.objects.list("cache/payloads/"):
        path = project.objects.path(info.key)
        assert path is not None
        assert blake3(path.read_bytes()).hexdigest() == path.name.partition(".")[0]
        if info.size > 1 << 20:
            os.unlink(path)  # noqa: PTH108 - of the killed process; nothing refers to it
