"""A forked process is what a started one would be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forked

SCRIPT = """
import atexit, os, sys, threading

print(sys.argv, __name__, __file__, sys.path[:3], os.getcwd(), hash("a"), os.environ["HERE"], sys.stdin.read())
print(__spec__ is None, sys.modules["__main__"].__dict__ is globals(), sys._getframe().f_code.co_filename)
print(sys._getframe().f_code.co_flags, [name for name in sys.modules if name.startswith("expops")], sys.orig_argv[1:])
import prefect

print(prefect.settings.get_current_settings().home)
atexit.register(print, "at exit")
threading.Thread(target=print, args=("thread",)).start()
if "exit" in sys.argv:
    sys.exit(3)
if "raise" in sys.argv:
    raise ValueError("x")
"""
CASES = (
    ["script.py", "exit"],
    ["script.py", "raise"],
    ["-m", "package.module", "1"],
    ["-c", "import sys; print(sys.argv, sys.path[:2], __name__)", "2"],
)


@pytest.mark.parametrize("arguments", CASES, ids=["exit", "raise", "module", "text"])
def test_it_says_and_ends_as_one_that_was_started(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "module.py").write_text(SCRIPT)
    changed = {"PYTHONPATH": "/nowhere", "PYTHONHASHSEED": "3", "PREFECT_HOME": str(tmp_path), "HERE": "yes"}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | changed
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    begun = subprocess.Popen([sys.executable, *arguments], cwd=tmp_path, env=environ, text=True, **streams)  # type: ignore[call-overload]
    branched = forked.start(arguments, tmp_path, environ, **streams)
    assert isinstance(branched, forked._Forked)
    assert branched.communicate(timeout=60)[0] == begun.communicate(timeout=60)[0]
    assert branched.returncode == begun.returncode


def test_one_that_is_killed_says_so(tmp_path: Path) -> None:
    waits = ["-c", "import time; print(1, flush=True); time.sleep(60)"]
    process = forked.start(waits, tmp_path, dict(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    assert process.poll() is None
    process.kill()
    assert process.wait(10) == -9
    process.stdout.close()
