"""The installed command: in a pipe, on a terminal, and used wrongly."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from itertools import takewhile
from pathlib import Path

import pytest

from expops_prefect import Project
from tests.cli.commands import commands_of
from tests.cli.conftest import FLOW, Command
from tests.support.server import clean_environment

COMMAND = str(Path(sys.executable).parent / "expops-prefect")
CSI = "\x1b["


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    env = {**clean_environment(tmp_path / "home"), "TERM": "xterm-256color", **changes}
    return {name: value for name, value in env.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}


def test_a_pipe_gets_whole_lines_without_colours(recorded: Project, tmp_path: Path) -> None:
    root = recorded.settings.root
    done = subprocess.run(
        [COMMAND, "runs", "show", "latest", "--project", str(root)],
        capture_output=True,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert FLOW in lines[0]
    assert CSI not in done.stdout.decode()
    (train,) = [line for line in lines if line.startswith("train #1")]
    assert train.endswith("loss 0.25")
    (chart,) = [line for line in lines if line.startswith("chart ")]
    assert Path(chart.partition(": ")[2]).is_file()
    assert all(line == line.rstrip() for line in lines)


def on_a_terminal(arguments: list[str], env: dict[str, str], columns: int = 80) -> list[str]:
    """The lines that a command prints on a terminal."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([COMMAND, *arguments], stdin=inner, stdout=inner, stderr=inner, env=env)
    os.close(inner)
    text = b""
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(outer)
    assert process.wait(60) == 0
    return text.decode().splitlines()


def test_a_terminal_gets_colours_and_its_own_width(recorded: Project, tmp_path: Path) -> None:
    project = ["--project", str(recorded.settings.root)]
    lines = on_a_terminal(["cache", "show", "train_final", *project], environment(tmp_path))
    assert any(CSI in line for line in lines)
    assert all(len(line) <= 80 for line in lines if CSI not in line)
    green = f"{CSI}32mcompleted"
    for coloured, more in ((True, {}), (False, {"NO_COLOR": "1"})):
        lines = on_a_terminal(["runs", "list", *project], environment(tmp_path) | more)
        assert any(green in line for line in lines) is coloured
        assert any("completed" in line for line in lines)


def test_a_narrow_terminal_gets_what_can_be_read(recorded: Project, tmp_path: Path) -> None:
    shown = ["runs", "show", "latest", "--project", str(recorded.settings.root)]
    lines = on_a_terminal(shown, environment(tmp_path, NO_COLOR="1"), 60)
    (train,) = [number for number, line in enumerate(lines) if line.startswith("train #1")]
    first = recorded.runs()[1].run_id
    # Whether the column fits beside the others depends on whether one says what was saved.
    row = [lines[train], *takewhile(lambda line: line.startswith(" "), lines[train + 1 :])]
    assert any(first[-8:] in line for line in row), lines
    assert "    last metrics: loss 0.25" in row
    assert not any(0 < len(line.strip()) < 4 for line in lines), "no letters one below the other"


def test_an_encoding_without_the_letters_and_a_reader_that_leaves(recorded: Project, tmp_path: Path) -> None:
    shell = f"'{COMMAND}' runs list --project '{recorded.settings.root}'"
    env = environment(tmp_path, PYTHONIOENCODING="ascii")
    first = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell} | head -n 2"], capture_output=True, env=env, check=False
    )
    assert b"\\u5b66\\u7fd2" in first.stdout
    assert b"Traceback" not in first.stderr
    left = subprocess.run(
        ["bash", "-c", f"{shell} --json | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, env=env, check=False
    )
    assert left.returncode in (0, 1)
    assert left.stderr == b""


@pytest.mark.parametrize("arguments", [["runs", "list"], ["runs", "list", "--json"], ["--help"]])
def test_an_output_that_is_full(recorded: Project, tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path, EXPOPS_PROJECT_ROOT=str(recorded.settings.root)),
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"the output cannot be written: No space left on device\n")


def test_as_a_module_from_a_folder_of_the_project(recorded: Project, tmp_path: Path) -> None:
    folder = recorded.settings.root / "deep"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "expops_prefect.cli.main", "runs", "list", "--json", "--limit", "1"],
        capture_output=True,
        cwd=folder,
        env=environment(tmp_path),
        check=True,
    )
    assert [run["run_id"] for run in json.loads(done.stdout)] == [recorded.runs()[0].run_id]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "Unknown command"),
        (["runs", "nope"], "Unknown command"),
        (["runs", "list", "--nope"], "Unknown option"),
        (["runs", "list", "--limit", "0"], "Must be >= 1"),
        (["runs", "list", "--limit", "x"], "unable to convert"),
        (["cache", "show"], "requires an argument"),
        (["runs", "show", "a", "b"], "nused"),
        (["doctor", "--project"], "requires an argument"),
    ],
)
def test_wrong_usage(cli: Command, arguments: list[str], says: str) -> None:
    printed = cli(*arguments)
    assert (printed.code, printed.out) == (2, "")
    assert says in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["runs"],
        ["cache", "--help"],
        *([*command, "--help"] for command in (["init"], ["doctor"], ["runs", "show"], ["cache", "list"])),
    ],
)
def test_help_says_how_it_ends(cli: Command, arguments: list[str]) -> None:
    printed = cli(*arguments)
    assert (printed.code, printed.err) == (0, "")
    assert "Usage: expops-prefect" in printed.out
    assert "2 wrong usage" in " ".join(printed.out.split())
    assert "``" not in printed.out, "no mark-up of docstrings"


def test_every_command_takes_project_and_json(cli: Command) -> None:
    for words in commands_of():
        command = words.split()
        text = cli(*command, "--help").out
        assert "--project" in text, command
        assert "--json" in text, command
        assert f"Example: expops-prefect {words}" in text


def test_version(cli: Command) -> None:
    from importlib.metadata import version

    assert cli("--version").out == f"{version('expops-prefect')}\n"
