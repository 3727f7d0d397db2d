"""The folders in which libraries cache data for this machine's user."""

from __future__ import annotations

import os
from pathlib import Path

_NAMED = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "PYTHONPYCACHEPREFIX", "JOBLIB_TEMP_FOLDER")


def library_caches() -> tuple[str, ...]:
    """The folders whose files libraries write and read by themselves, absolute."""
    folders = [os.environ[name] for name in _NAMED if os.environ.get(name)]
    home = Path.home()
    folders += [str(home / ".cache"), str(home / "Library" / "Caches"), str(home / ".config" / "matplotlib")]
    return tuple(str(Path(folder).absolute()) for folder in folders)
