"""``expops-prefect init``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

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
{stores}
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

_KV: Final = {
    None: """\
    backend:
      type: local              # SQLite in .{name}/metrics.sqlite
      # type: gcp              # Firestore, for several machines
      # gcp_project: my-gcp-project-id
      # credentials_json: firestore.json     # relative to this project; keep it out of git
      # type: redis            # Redis, for several machines; its password: MLOPS_REDIS_PASSWORD
      # host: redis.internal
""",
    "local": """\
    backend:
      type: local              # SQLite in .{name}/metrics.sqlite
""",
    "gcp": """\
    backend:
      type: gcp                # Firestore
      gcp_project: my-gcp-project-id
      # credentials_json: firestore.json     # relative to this project; keep it out of git
""",
    "redis": """\
    backend:
      type: redis              # its password: MLOPS_REDIS_PASSWORD
      host: redis.internal
""",
}
_OBJECTS: Final = {
    None: """\
    # object_store:            # without it: files below .{name}/
    #   type: gcs
    #   bucket: my-gcs-bucket-name
""",
    "local": """\
    object_store:
      type: local              # files below .{name}/
""",
    "gcs": """\
    object_store:
      type: gcs
      bucket: my-gcs-bucket-name
""",
    "s3": """\
    object_store:
      type: s3
      bucket: my-s3-bucket-name
      region: eu-west-1
      # endpoint: http://minio.example:9000  # another server
      # credentials_file: aws.ini            # like ~/.aws/credentials; keep it out of git
""",
    "azure": """\
    object_store:
      type: azure
      container: my-container-name
      account: myaccount
      # credentials_file: azure.txt          # with a connection string; keep it out of git
""",
}
_NEEDED: Final = {"redis": "redis", "s3": "obstore", "azure": "obstore"}
"""What the extra of a store installs."""


def init(
    project: Path = Path(),
    *,
    kv: Literal["local", "gcp", "redis"] | None = None,
    objects: Literal["local", "gcs", "s3", "azure"] | None = None,
    json: bool = False,
) -> int:
    """Write a commented configs/project_config.yaml. Never changes an existing one.

    Example: expops-prefect init --project ~/churn --kv redis --objects s3

    Args:
        project: the project's root folder.
        kv: where records are kept; without it local, with the others as comments.
        objects: where results are kept; the same.
        json: print JSON.
    """
    root = project.expanduser().absolute()
    file = root / CONFIG_FILE
    name = usable_project_id(root.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as target:
            target.write(_TEMPLATE.format(name=name, stores=(_KV[kv] + _OBJECTS[objects]).format(name=name)))
    except OSError as error:
        if os.path.lexists(file):
            raise ProblemError(f"{file} already exists and was not changed; edit it, or remove it first") from None
        raise ProblemError(f"{file} cannot be written: {error.strerror}; choose a folder with --project") from error
    if json:
        print_json({"written": file, "project_id": name})
        return OK
    print_line(f"wrote {file}")
    if kv not in {None, "local"} or objects not in {None, "local"}:
        print_line("next: write the names of your stores into it")
    missing = [each for each in (kv, objects) if each in _NEEDED and find_spec(_NEEDED[each]) is None]
    if missing:
        print_line(f"next: pip install 'expops-prefect[{','.join(missing)}]'")
    print_line(f"next: add .{name}/ to .gitignore, import flow and task from expops_prefect, run expops-prefect doctor")
    return OK
