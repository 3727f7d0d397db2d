"""A graph is written into a configuration that stays what it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from expops_prefect.config import Written, write_pipeline
from expops_prefect.config import pipeline_section as pipeline_module
from expops_prefect.errors import ConfigurationError
from tests.config.support import make_project, settings_of

ADJACENCY = "load train\ntrain report\n"
PROCESSES = ("load", "train", "report")

WRITTEN_BY_HAND = """\
# Our pipeline.   Keep this line.

metadata: {name: "churn",   tags: [a,  b]}   # flow style
reproducibility:
    random_seed: 007     # odd, and ours
    when: 2024-01-02
    shuffled: yes
experiment:
    cache:
        backend:
            type: 'local'    # SQLite
    # The graph.
    pipeline:
        # Edges.
        process_adjlist: |
            load train
        processes:
          # The one that learns.
          - name: train      # a comment of train's
            hyperparameters: &rates
                rate: 0.10
                steps: 1_000
            description: "a long line that no editor may fold, because somebody wrote it like that on purpose, for good reasons of their own"
          - {name: "old", parameters: *rates}
prefect:
    project_id: churn   # the id
"""  # noqa: E501


def write(root: Path, charts: tuple[str, ...] = ("report",)) -> Written:
    return write_pipeline(root, ADJACENCY, PROCESSES, charts)


def test_everything_else_stays(tmp_path: Path) -> None:
    root = make_project(tmp_path / "churn", WRITTEN_BY_HAND)
    file = root / "configs" / "project_config.yaml"
    file.chmod(0o640)
    done = write(root)
    assert done == Written(file, changed=True, added=("load", "report"), charts=("report",))
    text = file.read_text()
    new = "            load train\n            train report\n"
    entries = "          - name: load\n          - name: report\n            type: chart\n"
    expected = WRITTEN_BY_HAND.replace("            load train\n", new).replace("prefect:\n", f"{entries}prefect:\n")
    assert text == expected
    before, after = yaml.safe_load(WRITTEN_BY_HAND), yaml.safe_load(text)
    assert after["experiment"].pop("pipeline") == {
        "process_adjlist": ADJACENCY,
        "processes": [
            *before["experiment"].pop("pipeline")["processes"],
            {"name": "load"},
            {"name": "report", "type": "chart"},
        ],
    }
    assert after == before
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]
    again = write(root)
    assert (again.changed, again.added, again.charts, file.read_text()) == (False, (), (), text)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "# nothing but a comment\n",
        "experiment:\n",
        "prefect: {project_id: x}\n",
        "experiment: {cache: {backend: {type: local}}}\n",
        "experiment:\n  pipeline:\n    processes: []\n",
        "experiment:\n  pipeline:\n    processes:\n    - name: train\n      parameters: {a: 1}\n",
        "experiment:\n  parameters:\n    pipeline:\n      processes:\n        - name: train\n",
        "experiment:\n  pipeline:\n    process_adjlist: 'a b'\n",
        "metadata:\r\n  name: x\r\n",
        "x: &a {k: 1}\ny: *a\nz:\n  <<: *a\n  l: 2\n",
    ],
)
def test_any_configuration(tmp_path: Path, config: str) -> None:
    root = make_project(tmp_path / "any", config)
    write(root)
    settings = settings_of(root, None)
    assert settings.process_adjlist == ADJACENCY
    assert set(settings.processes) == set(PROCESSES)
    assert settings.processes["report"]["type"] == "chart"
    text = (root / "configs" / "project_config.yaml").read_text()
    assert "# nothing" in text or not config.startswith("#")
    assert not write(root).changed


def test_a_process_has_its_entry_under_the_users_name(tmp_path: Path) -> None:
    from expops_prefect.models.names import normalise

    config = "experiment:\n  pipeline:\n    processes:\n      - name: Große Stadt\n        parameters: {a: 1}\n"
    root = make_project(tmp_path / "names", config)
    name = normalise("Große Stadt")
    done = write_pipeline(root, f"load {name}\n", ["load", name], [name])
    assert (done.added, done.charts) == (("load",), (name,))
    settings = settings_of(root, None)
    assert settings.process(name) == {"name": "Große Stadt", "parameters": {"a": 1}, "type": "chart"}


def test_an_entry_that_says_what_kind_it_is_keeps_it(tmp_path: Path) -> None:
    config = (
        "experiment:\n  pipeline:\n    processes:\n      - {name: report, type: process}\n"
        "      - name: train\n        probe_paths: {}\n"
    )
    root = make_project(tmp_path / "kinds", config)
    assert write(root, charts=("report", "train")).charts == ()
    assert settings_of(root, None).processes["report"]["type"] == "process"


def test_a_file_behind_a_link_is_written_where_it_is(tmp_path: Path) -> None:
    root = make_project(tmp_path / "linked", None)
    (root / "configs").mkdir()
    target = tmp_path / "shared.yaml"
    target.write_text("metadata: {}\n")
    (root / "configs" / "project_config.yaml").symlink_to(target)
    write(root)
    assert (root / "configs" / "project_config.yaml").is_symlink()
    assert yaml.safe_load(target.read_text())["experiment"]["pipeline"]["process_adjlist"] == ADJACENCY


def test_what_cannot_be_written_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = make_project(tmp_path / "missing", None)
    with pytest.raises(ConfigurationError, match="expops-prefect init"):
        write(missing)
    wrong = make_project(tmp_path / "wrong", "prefect: {nope: 1}\n")
    with pytest.raises(ConfigurationError, match="nope"):
        write(wrong)

    root = make_project(tmp_path / "full", WRITTEN_BY_HAND)
    file = root / "configs" / "project_config.yaml"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            write(root)
    check = pipeline_module._check

    def meanwhile(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        file.write_text(WRITTEN_BY_HAND + "# somebody else\n")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline_module, "_check", meanwhile)
        with pytest.raises(ConfigurationError, match="was changed meanwhile"):
            write(root)
    assert file.read_text() == WRITTEN_BY_HAND + "# somebody else\n"
    assert list(file.parent.iterdir()) == [file]


def test_the_width_that_most_of_a_file_has_is_kept(tmp_path: Path) -> None:
    config = "metadata:\n    name: x\nexperiment:\n  cache:\n    backend:\n      type: local\n  parameters:\n    b: 1\n"
    root = make_project(tmp_path / "churn", config)
    write(root)
    text = (root / "configs" / "project_config.yaml").read_text()
    assert text.startswith(config)
    assert "\n  pipeline:\n    process_adjlist: |\n      load train\n" in text


def test_the_line_ends_of_a_file_are_kept(tmp_path: Path) -> None:
    root = make_project(tmp_path / "churn", WRITTEN_BY_HAND.replace("\n", "\r\n"))
    file = root / "configs" / "project_config.yaml"
    write(root)
    content = file.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n")
    assert not write(root).changed
    assert file.read_bytes() == content
    other = make_project(tmp_path / "other", WRITTEN_BY_HAND)
    write(other)
    assert content.replace(b"\r\n", b"\n") == (other / "configs" / "project_config.yaml").read_bytes()


def test_a_line_of_the_old_graph_is_no_comment_of_the_file(tmp_path: Path) -> None:
    pipeline = "    process_adjlist: |\n      a b\n      # inside\n    # a comment\n    processes: []\n"
    config = f"experiment:\n  pipeline:\n{pipeline}"
    root = make_project(tmp_path / "churn", config)
    write(root)
    text = (root / "configs" / "project_config.yaml").read_text()
    assert "# inside" not in text
    assert "    # a comment\n" in text


def test_an_edit_that_would_lose_something_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "f"
    text = "# mine\nexperiment:\n  pipeline:\n    processes:\n      - {name: train, parameters: {a: 1}}\n"
    edited = text + f"    process_adjlist: {ADJACENCY!r}\n".replace("'", '"')
    pipeline_module._check(file, text, edited, ADJACENCY)
    for lost in (edited.replace("# mine\n", ""), edited.replace("a: 1", "a: 2"), edited + "more: 1\n", text):
        with pytest.raises(ConfigurationError, match="was not changed"):
            pipeline_module._check(file, text, lost, ADJACENCY)


SPELLED = """\
# a project
metadata:   {name:   "shop" ,  tags: [ a,b ]}
reproducibility: { random_seed:   7 }
nothing: ~
data:
    path:    'data/train.csv'   # a file
long: "a very long text that goes on and on, beyond what fits, and on, and further on, until it ends at last here"
folded: >-
  one
  two


experiment:
  pipeline:
    processes:
      - {name: load ,  parameters: { rate: 1.50, on: yes }}
      - name:   train
        hyperparameters:   {rate:   0.10}
prefect:   {project_id:   shop}
"""


def test_lines_that_are_not_touched_stay_as_they_are(tmp_path: Path) -> None:
    root = make_project(tmp_path / "shop", SPELLED)
    written = write_pipeline(root, "load train\ntrain report\n", ["load", "train", "report"], {"report"})
    assert written.changed
    text = (root / "configs" / "project_config.yaml").read_text()
    assert [line for line in SPELLED.splitlines() if line not in text.splitlines()] == []
    new = [line for line in text.splitlines() if line not in SPELLED.splitlines()]
    assert [line.strip() for line in new] == [
        *("- name: report", "type: chart", "process_adjlist: |", "load train", "train report")
    ]
    assert not write_pipeline(root, "load train\ntrain report\n", ["load", "train", "report"], {"report"}).changed
