"""A project: its settings and its stores."""

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
_ = row_changes  # registers the functions of queued changes


class Project:
    """A project's settings, its KV store and its object store.

    Opening makes no connection; a copy or a pickle holds only the settings.

    Args:
        settings: the parsed configuration.

    Attributes:
        settings: the parsed configuration.
        kv: the KV store.
        objects: the object store.
        kv_availability, objects_availability: circuit breakers of the stores.
        part: other state of the project in this process, by its class.
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
        """Find and open a project; returns the same object for a root while its configuration is unchanged.

        Args:
            path: the project's root; by default ``EXPOPS_PROJECT_ROOT``, then the nearest folder above
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
        """Deliver waiting changes, and close connections, threads and files. Done automatically when a process ends.

        Args:
            timeout: seconds for the delivery, at most. Undelivered changes stay in the outbox's folder.
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
        """Whether objects must be downloaded before they can be read."""
        return self.settings.objects.is_remote

    @cached_property
    def signatures(self) -> Signatures:
        """Signs cache records and verifies their signatures.

        Raises:
            ConfigurationError: the key file can no longer be read.
        """
        file = self.settings.signing_key_file
        try:
            return Signatures(() if file is None else read_keys(file))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the signing keys in {file} cannot be read: {error}") from error

    @cached_property
    def outbox(self) -> Outbox:
        """The queue for everything that this process records, so that a store never holds up a flow."""
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
        """The prefix of a manifest's references: empty for files, so that a project can be moved."""
        return self.objects.uri(f"{names.CACHE_PREFIX}x")[:-1] if self.remote_objects else ""

    def data_rules(self) -> DataRules:
        """The rules for ignored files in data folders, with a list that collects the ignored ones."""
        return DataRules(self.settings.cache.ignore_files, self.settings.runtime_dir, [])

    def reconcile(self, *, dry_run: bool = False) -> list[run_records.RunRecord]:
        """Mark runs as failed whose processes have died, on this machine or another.

        A process of the project also does this when it starts a run. The queued changes of dead processes on this
        machine are delivered first. Suspended runs are left alone.

        Args:
            dry_run: only return the runs.

        Returns:
            Their records after the change.

        Raises:
            BackendError: a store failed.
        """
        if not dry_run:
            self.outbox.deliver_orphans()
        return end_dead_runs(self.kv, self.settings.runtime_dir, dry_run=dry_run)

    # Its pipeline ------------------------------------------------------------------------------

    def as_flow(self, **options: Any) -> Flow[..., dict[str, str]]:
        """The flow that runs ``experiment.pipeline`` with the project's own functions.

        Needs the extra ``expops``. The flow returns the status of each process by its probe path. It takes
        ``parameters``, such as ``{"train.epochs": 3}``, which replace configured ones.

        Args:
            options: arguments of Prefect's ``flow``; its name is the project's id unless given.

        Raises:
            ConfigurationError: the pipeline cannot run; the message says what is wrong with it.

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
        """The project's runs, newest first: a list with ``frame()``; each run displays itself in a notebook.

        With a limit, the other runs are not read.

        Args:
            limit: the most runs.
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
        """A run by its record, ``latest``, its id, or the start or the end of the id's digits.

        All readers below accept the same names.

        Raises:
            RunNotFoundError: no run matches, or several do; the message says which are similar.
            BackendError: the store failed.
        """
        return self._shown(find_run(self.kv, self.project_id, name))

    def _read(self, run: RunName, read: Callable[[KVStore, str], _T]) -> _T:
        try:
            name = find_run(self.kv, self.project_id, run).run_id
        except RunNotFoundError:
            # Runs of ExpOps itself have no record of this package.
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
        """The pipeline graph of a run, also of an open one."""
        from expops_prefect.views.graph import graph_of

        def read(kv: KVStore, name: str) -> tuple[Any, Any] | None:
            found = process_rows.read_rows(kv, name), run_outputs.read_charts(kv, name)
            return found if any(found) else None

        return graph_of(*(self._read(run, read) or ((), {})))

    def explain(self, run: RunName, process: str | None = None) -> list[Explanation]:
        """Why the calls of a run were executed, or which run their results came from, in the order of their start.

        Args:
            run: the run, named as for :meth:`run`.
            process: only this process or step, as shown or as in your code, or a probe path.

        Raises:
            RunNotFoundError: see :meth:`run`.
            ProcessNotFoundError: the run has no process or step of that name.
            BackendError: a store failed.
        """
        from expops_prefect.explain import explain

        return explain(self.kv, self.objects, self.run(run), process)

    def result(self, name: RunName, process: str | None = None, *, call: int | None = None) -> Any:
        """What a task returned in a run, or the stored result under a key.

        It is verified as a hit is, before anything is loaded. An expired result can be read as long as it is stored.

        Args:
            name: the run, named as for :meth:`run`; or, without a process, a cache key or a unique start of its parts,
                as ``expops-prefect cache list`` prints it.
            process: the process or step, as shown or as in your code, or a probe path.
            call: which of several calls, from 1.

        Raises:
            RunNotFoundError: see :meth:`run`.
            ProcessNotFoundError: the run has no such process, step or call, or several match.
            ResultNotFoundError: no stored result matches; as a ResultNotStoredError it was never stored, as a
                ResultRemovedError it was removed or replaced. The message says what to do.
            IntegrityError: it is damaged; as a ResultNotLoadableError it is whole, but this process lacks something
                that it needs.
            FormatError: another release stored it.
            BackendError: a store failed.

        Example:
            ```python
            from expops_prefect import Project

            model = Project.open().result("latest", "train", call=3)
            ```
        """
        from expops_prefect.cache import reading

        return reading.load(self, reading.find(self, name, process, call))

    def cache_record(self, key: names.CacheKey) -> cache_records.CacheRecord | None:
        """The cache record under a key; ``None`` also for one of a newer release."""
        return cache_records.read_cache_record(self.kv, key)


def _reopen(settings: Settings) -> Project:
    """A project in another process: the one that is already open there, if its settings are the same."""
    here = of_process(OpenProjects)
    with here.lock:
        held = here.by_root.get(str(settings.root))
        if held is not None and held[1].settings == settings:
            return held[1]
        project = Project(settings)
        here.by_root[str(settings.root)] = (None, project)
        return project


class OpenProjects:
    """The projects of this process. Get it with ``of_process(OpenProjects)``.

    Attributes:
        lock: held while a project is looked up and opened.
        by_root: each project by its root folder, with the stamp of its configuration.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.by_root: dict[str, tuple[object, Project]] = {}
