"""``expops-prefect init``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from expops_prefect.cli.output import OK, ProblemError, print_json, print_line
from expops_prefect.config import CONFIG_FILE, usable_project_id

_TEMPLATE: Final = """\
# ExpOps' project file, read by ExpOps' own programs too. Everything in it is optional.

metadata:
  name: "{name}"

# Part of every task's cache key.
# reproducibility:
#   random_seed: 42

# A data file or folder: if its content changes, all tasks are executed again.
# data:
#   path: data/train.csv

experiment:
  cache:
    backend:
      type: local              # SQLite in .{name}/metrics.sqlite
      # type: gcp              # Firestore, for several machines
      # gcp_project: my-gcp-project-id
      # credentials_json: firestore.json     # relative to this project; keep it out of git
      # type: redis            # Redis, for several machines; its password: MLOPS_REDIS_PASSWORD
      # host: redis.internal
    # object_store:            # without it: files below .{name}/
    #   type: gcs
    #   bucket: my-gcs-bucket-name

  # The graph that ExpOps' UI draws, and each process's parameters. A parameter is part of the cache
  # key of its own process only; read them with process_parameters("train").
  # pipeline:
  #   process_adjlist: |
  #     load train
  #   processes:
  #     - name: load
  #     - name: train
  #       hyperparameters:
  #         learning_rate: 0.1

prefect:
  project_id: "{name}"
  # runtime_dir: /srv/expops/{name}     # where local backends store data
  # cache:
  #   enabled: true
  #   default: pure            # cache tasks that only compute; all: that return something; none: that ask for it
  #   ttl: 30d                 # how long results are valid; default: forever
  #   ignore_files: [.DS_Store, "*~", .git]   # ignored in data folders; replaces a longer default list
  #   processes:
  #     train: {{enabled: false}}
  #     fetch: {{ttl: 1h}}       # cache it although it uses the network
  # record:
  #   enabled: true
"""


def init(project: Path = Path(), *, json: bool = False) -> int:
    """Write a commented configs/project_config.yaml. Never changes an existing one.

    Example: expops-prefect init --project ~/churn

    Args:
        project: the project's root folder.
        json: print JSON.
    """
    root = project.expanduser().absolute()
    file = root / CONFIG_FILE
    name = usable_project_id(root.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as target:
            target.write(_TEMPLATE.format(name=name))
    except OSError as error:
        if os.path.lexists(file):
            raise ProblemError(f"{file} already exists and was not changed; edit it, or remove it first") from None
        raise ProblemError(f"{file} cannot be written: {error.strerror}; choose a folder with --project") from error
    if json:
        print_json({"written": file, "project_id": name})
        return OK
    print_line(f"wrote {file}")
    print_line(f"next: add .{name}/ to .gitignore, import flow and task from expops_prefect, run expops-prefect doctor")
    return OK
