"""The name of the artifact folder is the one that the real ExpOps computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from expops_prefect.config import load_settings, version_hash
from tests.config.support import make_project

CONFIGS: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "comment": "# nothing\n",
    "no scripts": "metadata: {name: x}\n",
    "empty scripts": "scripts: {}\n",
    "null scripts": "scripts:\n",
    "one": "scripts: {train: src/train.py}\n",
    "order": "scripts: {z: src/train.py, a: src/load.py, Z: src/load.py, é: src/train.py}\n",
    "missing file": "scripts: {train: src/nowhere.py}\n",
    "a folder": "scripts: {train: src}\n",
    "not a path": "scripts: {train: 3, load: [a], none: null}\n",
    "above": "scripts: {train: ../beside.py}\n",
    "crlf": "metadata: {name: x}\r\nscripts: {train: src/train.py}\r\n",
    "unicode": "metadata: {name: 学習}\nscripts: {train: src/train.py}\n",
    "comment counts": "scripts: {train: src/train.py}  # a comment\n",
}
ASK = """
import json, sys
from pathlib import Path
from expops.core.cache_probe.cache_layout import compute_cache_version_hash
print("RESULT" + json.dumps([compute_cache_version_hash(Path(root)) for root in sys.argv[1:]]))
"""


def test_as_expops_computes_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("print(1)\n")
    roots = []
    for name, config in CONFIGS.items():
        root = make_project(tmp_path / name.replace(" ", "-"), config)
        (root / "src").mkdir()
        (root / "src" / "train.py").write_bytes("print('träin')\r\n".encode())
        (root / "src" / "load.py").write_text("")
        roots.append(root)
    ours = [version_hash(load_settings(root, environ={})) for root in roots]
    asked = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, roots)], capture_output=True, text=True, timeout=120, check=False
    )
    assert asked.returncode == 0, asked.stderr
    theirs = json.loads(asked.stdout.rpartition("RESULT")[2])
    assert dict(zip(CONFIGS, ours, strict=True)) == dict(zip(CONFIGS, theirs, strict=True))
    assert len(set(ours)) == len(CONFIGS), "every one of them differs"
