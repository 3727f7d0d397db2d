"""Everything of one project behind one object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expops_prefect import names, records, rows
from expops_prefect.availability import Availability
from expops_prefect.backends import open_kv, open_objects
from expops_prefect.config import Settings, find_root, load_settings, settings_stamp, version_hash
from expops_prefect.errors import ConfigurationError, FormatError
from expops_prefect.folders import runtime_folder
from expops_prefect.forks import ForkSafeLock
from expops_prefect.kv import sound
from expops_prefect.kv.base import JSON, Announcing, KVStore
from expops_prefect.objects.base import ObjectStore
from expops_prefect.outbox.outbox import Outbox
from expops_prefect.reconcile import end_dead_runs
from expops_prefect.signatures import Signatures, read_keys

if TYPE_CHECKING:
    from prefect import Flow

    from expops_prefect.explain import Explanation
    from expops_prefect.graph import Graph
    from expops_prefect.notebook import MetricValues, RunList, ShownRun


_open: dict[str, tuple[object, Project]] = {}
_lock = ForkSafeLock()
_PARALLEL = 8
_LOOK_BACK_DAYS = (0.05, 1, 30, 1000)
_ = rows  # what waits in an outbox is applied by its functions


class Project:
    """A project's settings, its KV store and its object store.

    Opening costs no connection; a copy or a pickle holds the settings only.

    Args:
        settings: the parsed configuration.

    Attributes:
        settings: the parsed configuration.
        kv: the KV store.
        objects: the object store.
        kv_availability, objects_availability: whether they answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        usual = settings.runtime_dir == settings.root / f".{settings.project_id}"
        runtime_folder(settings.runtime_dir, settings.shared_group, ours=usual)
        self.kv: KVStore = open_kv(settings)
        self.objects: ObjectStore = open_objects(settings)
        self.kv_availability = Availability()
        self.objects_availability = Availability()

    @classmethod
    def open(cls, path: str | Path | None = None, *, source_file: str | Path | None = None) -> Project:
        """Find and open a project; the same object for the same root while its configuration is unchanged.

        Args:
            path: the project's root; without it ``EXPOPS_PROJECT_ROOT``, then the nearest folder above
                ``source_file``, then above the current folder, that holds ``configs/project_config.yaml``.
            source_file: the flow's source file.

        Raises:
            ConfigurationError: the configuration is wrong; the message says where and what is allowed.
        """
        root = find_root(path, source_file=None if source_file is None else Path(source_file))
        stamp = settings_stamp(root)
        with _lock:
            held = _open.get(str(root))
            if held is not None and held[0] == stamp:
                return held[1]
            project = cls(load_settings(root))
            _open[str(root)] = (stamp, project)
            return project

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.settings,))

    def __repr__(self) -> str:
        return f"Project({self.settings.project_id!r}, root={str(self.settings.root)!r})"

    @property
    def project_id(self) -> str:
        """The project's id, part of run ids and of object keys in a shared bucket."""
        return self.settings.project_id

    @cached_property
    def version_hash(self) -> str:
        """The folder of a project's artifacts, as ExpOps' run server computes it."""
        return version_hash(self.settings)

    @property
    def remote_objects(self) -> bool:
        """Whether objects have to be downloaded before they can be read."""
        return self.settings.objects.type != "local"

    @cached_property
    def signatures(self) -> Signatures:
        """Signs cache records, and tells which to trust.

        Raises:
            ConfigurationError: the file of keys cannot be read any more.
        """
        file = self.settings.signing_key_file
        try:
            return Signatures(() if file is None else read_keys(file))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the signing keys in {file} cannot be read: {error}") from error

    @cached_property
    def outbox(self) -> Outbox:
        """What this process writes about runs goes through here, so that no store holds a flow up."""
        remote = self.settings.kv.type != "local" or self.remote_objects
        return Outbox(
            self.kv,
            self.objects,
            self.settings.runtime_dir / "outbox",
            project_id=self.project_id,
            flush_seconds=float(self.settings.record.flush_seconds),
            parallel=_PARALLEL if remote else 1,
            on_delivery=self._delivered,
            on_adoption=lambda: end_dead_runs(self.kv, self.settings.runtime_dir),
        )

    def _delivered(self) -> None:
        self.kv_availability.back()
        if isinstance(self.kv, Announcing):
            self.kv.announce()

    @cached_property
    def reference_prefix(self) -> str:
        """What a manifest's references start with: nothing for files, so that a project can be moved."""
        return self.objects.uri(f"{names.CACHE_PREFIX}x")[:-1] if self.remote_objects else ""

    def reconcile(self, *, dry_run: bool = False) -> list[records.RunRecord]:
        """Show runs as failed whose processes have died, on this machine or another.

        A process of the project does so too when it starts a run. What dead processes of this
        machine had still to say is delivered first. Suspended runs are left alone.

        Args:
            dry_run: only say which.

        Returns:
            Their records, as they are then.

        Raises:
            BackendError: a store failed.
        """
        if not dry_run:
            self.outbox.deliver_orphans()
        return end_dead_runs(self.kv, self.settings.runtime_dir, dry_run=dry_run)

    # Its pipeline ------------------------------------------------------------------------------

    def as_flow(self, **options: Any) -> Flow[..., dict[str, str]]:
        """The flow that runs ``experiment.pipeline`` with the project's own functions.

        Needs the extra ``expops``. The flow returns the status of each process by its probe path, and
        takes ``parameters``, such as ``{"train.epochs": 3}``, in place of the configured ones.

        Args:
            options: arguments of Prefect's ``flow``; its name is the project's id unless given.

        Raises:
            ConfigurationError: the pipeline cannot be run; the message says what is wrong with it.

        Example:
            ```python
            from pathlib import Path
            from expops_prefect import Project

            pipeline = Project.open(Path(__file__).parent).as_flow()
            ```
        """
        from expops_prefect.bridge import as_flow

        return as_flow(self, **options)

    # Readers -----------------------------------------------------------------------------------

    def runs(self, limit: int | None = None) -> RunList:
        """The project's runs, newest first: a list with ``frame()``; each shows itself in a notebook.

        A few of them are found without reading the others.

        Args:
            limit: how many at most.
        """
        found = sorted(self._newest(limit), key=lambda run: run.started_at, reverse=True)
        from expops_prefect.notebook import RunList

        return RunList(self._shown(record) for record in found[:limit])

    def _newest(self, limit: int | None) -> list[records.RunRecord]:
        """At least the newest runs; all of them without a limit."""
        for days in () if limit is None else _LOOK_BACK_DAYS:
            start = names.first_run_id(self.project_id, time.time() - days * 86_400)
            found = list(records.read_runs(self.kv, after=start))
            if len(found) >= (limit or 0):
                return found
        return list(records.read_runs(self.kv))

    def _shown(self, record: records.RunRecord) -> ShownRun:
        from expops_prefect.notebook import ShownRun

        return ShownRun.of(record, lambda: (self.rows(record.run_id), self.metrics(record.run_id)))

    def run(self, name: str) -> records.RunRecord | None:
        """The run with this id, or whose id ends or starts with it; ``latest`` is the newest."""
        exact = None if name == "latest" else records.read_run(self.kv, name)
        if exact is not None:
            return self._shown(exact)
        if name == "latest":
            return next(iter(self.runs(limit=1)), None)
        runs = records.read_runs(self.kv)
        matching = [run for run in runs if run.run_id.endswith(name) or run.run_id.startswith(name)]
        return self._shown(matching[0]) if len(matching) == 1 else None

    def rows(self, run: str) -> list[records.Row]:
        """The rows of a run: processes, their calls, steps."""
        return records.read_rows(self.kv, run)

    def metrics(self, run: str) -> MetricValues:
        """Metrics of a run: probe path, metric, step number as text, value; a dictionary with ``frame()``."""
        from expops_prefect.notebook import MetricValues

        return MetricValues(records.read_metrics(self.kv, run))

    def charts(self, run: str) -> dict[str, list[Mapping[str, JSON]]]:
        """Charts of a run by probe path, each with ``title``, ``object_path`` and ``cache_path``."""
        return records.read_charts(self.kv, run)

    def graph(self, run: str) -> Graph:
        """The pipeline graph of a run, as far as it has come."""
        from expops_prefect.graph import graph_of

        return graph_of(self.rows(run), self.charts(run))

    def explain(self, run: str, process: str | None = None) -> list[Explanation]:
        """Why the calls of a run were executed, or whose results they were given, in the order in which they began.

        Args:
            run: the run, named as for :meth:`run`.
            process: only this process or step, as shown or as the user wrote it, or a probe path.

        Raises:
            BackendError: a store failed.
        """
        from expops_prefect.explain import explain

        record = self.run(run)
        return [] if record is None else explain(self.kv, self.objects, record, process)

    def cache_record(self, key: names.CacheKey) -> records.CacheRecord | None:
        """The cache record under a key; ``None`` also for one of a newer release."""
        value = sound.get(self.kv, key.record_key)
        try:
            return None if value is None else records.CacheRecord.load(value)
        except FormatError:
            return None


def _reopen(settings: Settings) -> Project:
    """A project in another process: the one that is open there already, if its settings are the same."""
    with _lock:
        held = _open.get(str(settings.root))
        if held is not None and held[1].settings == settings:
            return held[1]
        project = Project(settings)
        _open[str(settings.root)] = (None, project)
        return project
