"""A process for which a folder lies on a file system that is mounted read-only, even as root; for others it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def read_only(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of Python code; its mount goes with it.

    Args:
        folder: what is read-only.
        code: says ``ready`` first, so that it is known whether there is such a process.
        arguments: its ``sys.argv``, from the second on.
    """
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", _MOUNT, "sh", str(folder)]
    run = [*inside, sys.executable, "-u", "-c", f"print('ready')\n{code}", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    started = subprocess.Popen(
        run, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert started.stdout is not None
    if started.stdout.readline() != "ready\n":
        _, said = started.communicate()
        raise AssertionError(
            "a read-only mount is needed, and this process may not make one: allow user namespaces "
            f"(sysctl kernel.unprivileged_userns_clone=1), or run the tests as root with CAP_SYS_ADMIN\n{said}"
        )
    return started


def ended(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a process said, which must have ended well."""
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said[-3000:]
    return out.splitlines()
