"""Tasks that return nothing, and some that are called for what they do."""

import json
from pathlib import Path

from prefect import flow, task


@task
def ensure(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


@task
def state_of(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {"runs": 0}


@task
def save(path: Path, state: dict) -> dict:
    path.write_text(json.dumps(state))
    return state


@task
def advanced(state: dict) -> dict:
    return {**state, "runs": state["runs"] + 1}


@flow
def remembering():
    folder = Path("out/state")
    ensure(folder)
    path = folder / "state.json"
    return save(path, advanced(state_of(path)))


def main():
    return remembering()
