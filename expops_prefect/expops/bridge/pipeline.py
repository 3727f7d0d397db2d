"""The configured pipeline: its processes, checked and ordered by their dependencies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from expops_prefect.config import CONFIG_FILE, Settings
from expops_prefect.errors import ConfigurationError

_PIPELINE: Final = "experiment.pipeline"


@dataclass(frozen=True)
class Process:
    """One process of the pipeline.

    Attributes:
        name: the user's name.
        script: the key in ``scripts`` of the file that holds its function.
        function: the function's name there.
        explicit: whether the configuration names that function; a split does not need one.
        parameters: its own, which take precedence over the project's.
        rows: for a data split, the number of partitions, or the number of rows of each; else ``None``.
        data_name: for a data split, the output to split.
        seeds: for a seed split, the seeds; else empty.
        joins_data, joins_seeds: whether it aggregates the last data or seed split.
        probe_paths: for a chart, its selectors by the chart's own names.
        chart: whether its function draws.
        dynamic: whether only a browser can draw it, so that nothing needs to run.
    """

    name: str
    script: str
    function: str
    explicit: bool
    parameters: Mapping[str, Any]
    rows: int | tuple[int, ...] | None = None
    data_name: str | None = None
    seeds: tuple[int, ...] = ()
    joins_data: bool = False
    joins_seeds: bool = False
    probe_paths: Mapping[str, str] = field(default_factory=dict)
    chart: bool = False
    dynamic: bool = False

    @property
    def splits(self) -> bool:
        """Whether the processes after it run several times."""
        return self.rows is not None or bool(self.seeds)

    @property
    def partitions(self) -> int:
        """The number of partitions of a data split."""
        return len(self.rows) if isinstance(self.rows, tuple) else self.rows or 0


class Pipeline:
    """The checked pipeline of a project.

    Args:
        settings: the settings of the project.

    Attributes:
        processes: the processes that run, by name, each after its dependencies.
        upstream: the processes whose outputs a process uses, by its name, in the order of the configuration.

    Raises:
        ConfigurationError: it cannot run; the message names the key and says what is allowed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.config_file is None:
            raise ConfigurationError(
                f"there is no pipeline to run: {settings.root} holds no {CONFIG_FILE}; go to the folder of an ExpOps "
                "project, or name it"
            )
        if not settings.processes:
            raise self._wrong("processes", "empty", "a list of processes, each with a name; there is nothing to run")
        found = {name: self._process(name, section) for name, section in settings.processes.items()}
        edges = list(self._edges(found))
        self.upstream = {name: [source for source, target in edges if target == name] for name in found}
        order = self._in_order(found)
        self.processes = {name: found[name] for name in order if not found[name].dynamic}
        for name, process in self.processes.items():
            process_upstream = [other for other in self.upstream[name] if not found[other].dynamic]
            self.upstream[name] = process_upstream
            if process.chart and process.splits:
                raise self._wrong(f"processes.{name}", "a chart that splits", "a split, or a chart")

    # The graph -------------------------------------------------------------------------------------

    def _edges(self, found: Mapping[str, Process]) -> Iterable[tuple[str, str]]:
        seen: dict[tuple[str, str], None] = {}
        for line in self._settings.process_adjlist.splitlines():
            source, *targets = line.partition("#")[0].split() or [""]
            for name in filter(None, (source, *targets)):
                if name not in found:
                    near = difflib.get_close_matches(name, found, 1)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    allowed = f"the names of processes{hint}: {', '.join(found)}"
                    raise self._wrong("process_adjlist", f"the unknown process {name!r}", allowed)
            seen.update(dict.fromkeys((source, target) for target in targets))
        return seen

    def _in_order(self, found: Mapping[str, Process]) -> list[str]:
        graph: TopologicalSorter[str] = TopologicalSorter()
        # Charts that nothing depends on come last: they use the metrics of all other processes.
        depended = {source for sources in self.upstream.values() for source in sources}
        last = {name for name, process in found.items() if process.chart and name not in depended}
        for name in [*(name for name in found if name not in last), *(name for name in found if name in last)]:
            graph.add(name, *self.upstream[name])
        try:
            ordered = list(graph.static_order())
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise self._wrong("process_adjlist", f"a cycle, {cycle}", "a graph without one") from None
        return [name for name in ordered if name not in last] + [name for name in ordered if name in last]

    # One process -----------------------------------------------------------------------------------

    def _process(self, name: str, section: Mapping[str, Any]) -> Process:
        if section.get("component"):
            raise self._wrong(
                f"processes.{name}.component",
                repr(section["component"]),
                "a function of the project's own (code); pipelines with ExpOps' components run with: expops run",
            )
        script, function = self._code(name, section)
        rows, data_name = self._data_split(name, section.get("data_parallelism"))
        probe_paths = section.get("probe_paths") or {}
        if not isinstance(probe_paths, Mapping) or not all(isinstance(path, str) for path in probe_paths.values()):
            raise self._wrong(f"processes.{name}.probe_paths", "no such mapping", "names with an XPath each")
        file = str((self._settings.scripts or {}).get(script, ""))
        dynamic = section.get("chart_type") == "dynamic" or file.endswith(".js")
        return Process(
            name=name,
            script=script,
            function=function,
            explicit=bool(section.get("code")),
            parameters={str(key): value for key, value in self._settings.process_parameters(name).items()},
            rows=rows,
            data_name=data_name,
            seeds=self._seed_split(name, section.get("seed_parallelism")),
            joins_data=self._flag(name, section, "data_aggregation"),
            joins_seeds=self._flag(name, section, "seed_aggregation"),
            probe_paths={str(key): path for key, path in probe_paths.items()},
            chart=section.get("type") == "chart" or bool(probe_paths) or bool(section.get("chart_type")),
            dynamic=dynamic,
        )

    def _code(self, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
        scripts = list(self._settings.scripts or {})
        code = section.get("code")
        key = f"processes.{name}.code"
        if not scripts:
            raise ConfigurationError(
                f"{self._settings.config_file}: scripts is empty; allowed: a mapping with the file of the project's "
                "functions, such as main: src/model.py"
            )
        if code is None:
            return scripts[0], name
        script, _, function = code.rpartition(".") if isinstance(code, str) else ("", "", "")
        if not function.isidentifier():
            raise self._wrong(key, repr(code), "the name of a function, or script.function")
        if script and script not in scripts:
            raise self._wrong(key, repr(code), f"a function, or script.function with a script of: {', '.join(scripts)}")
        return script or scripts[0], function

    def _data_split(self, name: str, split: Any) -> tuple[int | tuple[int, ...] | None, str | None]:
        if split is None:
            return None, None
        key = f"processes.{name}.data_parallelism"
        size = split.get("size") if isinstance(split, Mapping) else None
        rows: int | tuple[int, ...] = 0
        if isinstance(size, list) and all(map(_is_count, size)):
            rows = tuple(size)
        elif isinstance(size, int) and _is_count(size):
            rows = size
        if not rows:
            raise self._wrong(f"{key}.size", repr(size), "a number of partitions, or a list of numbers of rows")
        data_name = split.get("data_name")
        if data_name is not None and not isinstance(data_name, str):
            raise self._wrong(f"{key}.data_name", repr(data_name), "the name of an output")
        return rows, data_name

    def _seed_split(self, name: str, split: Any) -> tuple[int, ...]:
        if split is None:
            return ()
        seeds = split.get("seeds") if isinstance(split, Mapping) else None
        whole = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
        if not isinstance(seeds, list) or not whole or not seeds or len(set(seeds)) < len(seeds):
            key = f"processes.{name}.seed_parallelism.seeds"
            raise self._wrong(key, repr(seeds), "a list of whole numbers, each once")
        return tuple(seeds)

    def _flag(self, name: str, section: Mapping[str, Any], key: str) -> bool:
        value = section.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(f"processes.{name}.{key}", repr(value), "true or false")
        return bool(value)

    def _wrong(self, key: str, found: str, allowed: str) -> ConfigurationError:
        return wrong(self._settings, key, found, allowed)


def wrong(settings: Settings, key: str, found: str, allowed: str) -> ConfigurationError:
    """The error for a key of the pipeline whose value is not allowed."""
    return ConfigurationError(f"{settings.config_file}: {_PIPELINE}.{key} is {found}; allowed: {allowed}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
