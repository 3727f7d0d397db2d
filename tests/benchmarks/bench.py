"""One run of the benchmark: its folders, its sizes, how a call is timed."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bench:
    """What a measure needs to know.

    Attributes:
        folder: a folder of this run.
        quick: small values and few rounds, to see that everything works.
    """

    folder: Path
    quick: bool

    @property
    def small_rounds(self) -> int:
        """Pairs of small measures."""
        return 10 if self.quick else 80

    @property
    def large_rounds(self) -> int:
        """Pairs of large measures."""
        return 2 if self.quick else 6

    @property
    def array_bytes(self) -> int:
        """Size of the large array."""
        return (16 if self.quick else 256) << 20

    @property
    def frame_rows(self) -> int:
        """Rows of the large frame."""
        return 40_000 if self.quick else 2_000_000

    def project(self, name: str, cache: str = "") -> Path:
        """A new project's root folder.

        Args:
            name: its id.
            cache: settings of its section ``cache``, as in a flow mapping of YAML.
        """
        root = self.folder / name
        (root / "configs").mkdir(parents=True)
        (root / "configs" / "project_config.yaml").write_text(f"prefect: {{project_id: {name}, cache: {{{cache}}}}}\n")
        return root

    @property
    def prefect_results(self) -> Path:
        """Where Prefect's own results lie: its default local file system."""
        return Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])


def bytes_below(folder: Path) -> int:
    """The sizes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def emptied(folder: Path) -> None:
    """Remove what lies in a folder, if there is one."""
    for entry in folder.iterdir() if folder.exists() else ():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def settled() -> None:
    """Before a large measure: nobody pays for what others left to collect or to write to disk."""
    gc.collect()
    os.sync()
