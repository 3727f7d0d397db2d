"""Everything of one project behind one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from expops_prefect._internal.files import runtime_folder
from expops_prefect._internal.process import ForkSafeLock, Parts, of_process
from expops_prefect._internal.signing import Signatures, read_keys
from expops_prefect.config import Settings, find_root, load_settings, settings_stamp, version_hash
from expops_prefect.errors import ConfigurationError, RunNotFoundError
from expops_prefect.fingerprint.files import DataRules
from expops_prefect.models import names
from expops_prefect.record import cache_records, process_rows, row_changes, run_outputs, run_records
from expops_prefect.record.reconcile import end_dead_runs
from expops_prefect.record.run_lookup import RunName, find_run, newest_runs
from expops_prefect.stores.circuit_breaker import Availability
from expops_prefect.stores.kv.base import JSON, Announcing, KVStore
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.outbox.outbox import Outbox

if TYPE_CHECKING:
    from prefect import Flow

    from expops_prefect.explain import Explanation
    from expops_prefect.views.graph import Graph
    from expops_prefect.views.notebook import MetricValues, RunList, ShownRun


_T = TypeVar("_T")
_PARALLEL = 8
_ = row_changes  # what waits in an outbox is applied by its functions


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
        part: what else this process keeps of the project, by its class.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        usual = settings.runtime_dir == settings.root / f".{settings.project_id}"
        runtime_folder(settings.runtime_dir, settings.shared_group, ours=usual)
        self.kv: KVStore = settings.kv.open(settings.place)
        self.objects: ObjectStore = settings.objects.open(settings.place)
        self.part = Parts(self)
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
        here = of_process(OpenProjects)
        with here.lock:
            held = here.by_root.get(str(root))
            if held is not None and held[0] == stamp:
                return held[1]
            project = cls(load_settings(root))
            here.by_root[str(root)] = ((stamp[0], settings_stamp(root)[1]), project)
            return project

    def close(self, timeout: float = 10.0) -> None:
        """Deliver what waits for the stores, and give up connections, threads and files. A process that ends does so.

        Args:
            timeout: seconds for the delivery, at most. What is not delivered by then stays in the outbox's folder.
        """
        here = of_process(OpenProjects)
        with here.lock:
            held = here.by_root.get(str(self.settings.root))
            if held is not None and held[1] is self:
                del here.by_root[str(self.settings.root)]
        if "outbox" in vars(self):
            self.outbox.close(timeout)
        self.kv.close()
        self.objects.close()

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
        return self.settings.objects.is_remote

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
        remote = self.settings.kv.is_remote or self.remote_objects
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

    def data_rules(self) -> DataRules:
        """What of data folders does not count, and a list that takes those that are met."""
        return DataRules(self.settings.cache.ignore_files, self.settings.runtime_dir, [])

    def reconcile(self, *, dry_run: bool = False) -> list[run_records.RunRecord]:
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
        from expops_prefect.expops.bridge import as_flow

        return as_flow(self, **options)

    # Readers -----------------------------------------------------------------------------------

    def runs(self, limit: int | None = None) -> RunList:
        """The project's runs, newest first: a list with ``frame()``; each shows itself in a notebook.

        A few of them are found without reading the others.

        Args:
            limit: how many at most.
        """
        from expops_prefect.views.notebook import RunList

        if limit is not None:
            return RunList(self._shown(run) for run in newest_runs(self.kv, self.project_id, limit))
        found = sorted(run_records.read_runs(self.kv), key=lambda run: run.started_at, reverse=True)
        return RunList(self._shown(run) for run in found)

    def _shown(self, record: run_records.RunRecord) -> ShownRun:
        from expops_prefect.views.notebook import ShownRun

        return ShownRun.of(record, lambda: (self.rows(record), self.metrics(record)))

    def run(self, name: RunName) -> run_records.RunRecord:
        """A run: named by its record, ``latest``, its id, or the beginning or the end of the id's digits.

        All readers below take a run so.

        Raises:
            RunNotFoundError: there is none, or there are several; the message says which come near.
            BackendError: the store failed.
        """
        return self._shown(find_run(self.kv, self.project_id, name))

    def _read(self, run: RunName, read: Callable[[KVStore, str], _T]) -> _T:
        try:
            name = find_run(self.kv, self.project_id, run).run_id
        except RunNotFoundError:
            # ExpOps itself keeps no record of ours.
            found = read(self.kv, run) if isinstance(run, str) and run else None
            if not found:
                raise
            return found
        return read(self.kv, name)

    def rows(self, run: RunName) -> list[process_rows.Row]:
        """The rows of a run: processes, their calls, steps."""
        return self._read(run, process_rows.read_rows)

    def metrics(self, run: RunName) -> MetricValues:
        """Metrics of a run: probe path, metric, step number as text, value; a dictionary with ``frame()``."""
        from expops_prefect.views.notebook import MetricValues

        return MetricValues(self._read(run, run_outputs.read_metrics))

    def charts(self, run: RunName) -> dict[str, list[Mapping[str, JSON]]]:
        """Charts of a run by probe path, each with ``title``, ``object_path`` and ``cache_path``."""
        return self._read(run, run_outputs.read_charts)

    def graph(self, run: RunName) -> Graph:
        """The pipeline graph of a run, as far as it has come."""
        from expops_prefect.views.graph import graph_of

        def read(kv: KVStore, name: str) -> tuple[Any, Any] | None:
            found = process_rows.read_rows(kv, name), run_outputs.read_charts(kv, name)
            return found if any(found) else None

        return graph_of(*(self._read(run, read) or ((), {})))

    def explain(self, run: RunName, process: str | None = None) -> list[Explanation]:
        """Why the calls of a run were executed, or whose results they were given, in the order in which they began.

        Args:
            run: the run, named as for :meth:`run`.
            process: only this process or step, as shown or as the user wrote it, or a probe path.

        Raises:
            RunNotFoundError: see :meth:`run`.
            ProcessNotFoundError: the run has no process or step of that name.
            BackendError: a store failed.
        """
        from expops_prefect.explain import explain

        return explain(self.kv, self.objects, self.run(run), process)

    def cache_record(self, key: names.CacheKey) -> cache_records.CacheRecord | None:
        """The cache record under a key; ``None`` also for one of a newer release."""
        return cache_records.read_cache_record(self.kv, key)


def _reopen(settings: Settings) -> Project:
    """A project in another process: the one that is open there already, if its settings are the same."""
    here = of_process(OpenProjects)
    with here.lock:
        held = here.by_root.get(str(settings.root))
        if held is not None and held[1].settings == settings:
            return held[1]
        project = Project(settings)
        here.by_root[str(settings.root)] = (None, project)
        return project


class OpenProjects:
    """The projects of this process. Take it as ``of_process(OpenProjects)``.

    Attributes:
        lock: held while one is looked for and opened.
        by_root: each by its root folder, with what its configuration was read from.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.by_root: dict[str, tuple[object, Project]] = {}
