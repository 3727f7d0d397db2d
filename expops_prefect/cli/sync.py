"""``expops-prefect sync``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from expops_prefect.cli.output import OK, PROBLEM, UsageError, print_json, print_line, print_note, size
from expops_prefect.cli.progress import progress_bar
from expops_prefect.cli.project_lookup import open_project
from expops_prefect.config import Settings, section_of
from expops_prefect.maintenance.sync import Copied, copy_project
from expops_prefect.project import Project
from expops_prefect.stores.kv.firestore.settings import FirestoreSettings
from expops_prefect.stores.kv.sqlite.settings import FILE, SQLiteSettings
from expops_prefect.stores.objects.gcs.settings import BUCKET, GCSSettings
from expops_prefect.stores.objects.local.settings import LocalObjectSettings
from expops_prefect.stores.outbox.journal import undeliverable


def sync(
    project: Path | None = None,
    *,
    to: Literal["gcp", "local"] | None = None,
    gcp_project: str | None = None,
    bucket: str | None = None,
    credentials_json: Path | None = None,
    json: bool = False,
) -> int:
    """Deliver the changes in this machine's outbox; with --to also copy the project to other stores.

    Copies runs, metrics, charts and the cache; skips what exists already. Afterwards set experiment.cache in
    configs/project_config.yaml to the new stores, so that flows find the cache there.

    Example: expops-prefect sync --to gcp --gcp-project churn-prod --bucket churn-cache

    Args:
        project: the project's root folder; by default found from the current folder.
        to: gcp for Firestore and a bucket; local for SQLite and files in the runtime folder.
        gcp_project: the Google Cloud project, if the configuration does not name it.
        bucket: the bucket, if the configuration does not name it.
        credentials_json: a service account's file, if the configuration does not name it.
        json: print JSON.
    """
    opened = open_project(project)
    delivered = opened.outbox.deliver_orphans()
    left = {str(path): why for path, why in undeliverable(opened.outbox.folder, opened.project_id)}
    for path, why in left.items():
        print_note(f"{path} is {why}: its changes are not delivered")
    if to is None:
        _print_result(json, {"delivered": delivered, "undeliverable": left}, f"delivered {delivered} waiting changes")
        return PROBLEM if left else OK
    local = Project(_local(opened.settings))
    cloud = Project(_cloud(opened.settings, gcp_project, bucket, credentials_json))
    source, target = (local, cloud) if to == "gcp" else (cloud, local)
    with progress_bar(f"{source.kv.describe()} -> {target.kv.describe()}", visible=not json) as progress:
        copied = copy_project(source, target, progress)
    _print_result(json, {"delivered": delivered, "undeliverable": left, **asdict(copied)}, _summary(copied))
    return PROBLEM if copied.damaged or left else OK


def _print_result(json: bool, values: dict[str, object], text: str) -> None:
    if json:
        print_json(values)
    else:
        print_line(text)


def _summary(copied: Copied) -> str:
    text = (
        f"copied {copied.runs} runs, {copied.records} cache records, {copied.objects} objects "
        f"({size(copied.object_bytes)}); {copied.skipped} existed already"
    )
    return text + (f"; {copied.damaged} damaged objects were skipped" if copied.damaged else "")


def _local(settings: Settings) -> Settings:
    """The project with stores on this machine."""
    here = settings.kv if isinstance(settings.kv, SQLiteSettings) else SQLiteSettings(path=settings.runtime_dir / FILE)
    objects = LocalObjectSettings(root=settings.runtime_dir)
    return settings.model_copy(update={"kv": here, "objects": objects})


def _cloud(settings: Settings, gcp_project: str | None, bucket: str | None, credentials: Path | None) -> Settings:
    """The project with shared stores: from the configuration, else from the command's options."""
    given = {
        "gcp_project": gcp_project,
        "bucket": bucket,
        "credentials_json": credentials and str(credentials.absolute()),
    }
    section = section_of("the command line", "sync", given, settings)
    kv, objects = settings.kv, settings.objects
    if not kv.is_shared or gcp_project:
        if not gcp_project:
            raise UsageError("which Google Cloud project? pass --gcp-project, or configure type: gcp")
        kv = FirestoreSettings.configured(section)
    if not objects.is_shared or bucket:
        if not bucket:
            raise UsageError("which bucket? pass --bucket, or configure type: gcs")
        # The command's bucket takes precedence over the environment.
        here = {name: value for name, value in section.environ.items() if name != BUCKET}
        objects = GCSSettings.configured(replace(section, environ=here, shared=section))
    return settings.model_copy(update={"kv": kv, "objects": objects})
