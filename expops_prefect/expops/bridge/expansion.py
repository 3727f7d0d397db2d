"""Expands a pipeline's splits: one instance of a process for each partition and each seed.

A split multiplies every process that depends on it, up to an aggregation. A process that depends on several splits
runs for all combinations; inputs from outside a split go to each of its instances.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from expops_prefect.config import Settings
from expops_prefect.expops.bridge.pipeline import Pipeline, Process, wrong
from expops_prefect.models import names

Kind = Literal["data", "seed"]


@dataclass(frozen=True)
class Layer:
    """A split: of data into partitions, or over seeds.

    Attributes:
        split: the process that splits.
        kind: what it splits.
        values: the numbers of the partitions, from 1, or the seeds.
    """

    split: str
    kind: Kind
    values: tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """An instance whose outputs another instance uses.

    Attributes:
        path: the probe path of the instance.
        process: its process.
        part: the partition that is used; ``None`` for undivided outputs.
        slot: for an aggregation, the position (from 1) in each layer that it aggregates.
    """

    path: str
    process: str
    part: int | None
    slot: tuple[tuple[Kind, int], ...]


@dataclass(frozen=True)
class Instance:
    """A process in one partition and with one seed of each enclosing split.

    Attributes:
        process: the process.
        path: its probe path, its name in the record.
        seed: the innermost enclosing seed; ``None`` outside seed splits.
        sources: the sources of its inputs.
    """

    process: Process
    path: str
    seed: int | None
    sources: tuple[Source, ...]


def expand(pipeline: Pipeline, settings: Settings) -> list[Instance]:
    """All instances, each after the ones that it depends on.

    Raises:
        ConfigurationError: an aggregation has no split before it.
    """
    around: dict[str, tuple[Layer, ...]] = {}
    instances: list[Instance] = []
    for name, process in pipeline.processes.items():
        upstream = pipeline.upstream[name]
        arriving = tuple(dict.fromkeys(layer for other in upstream for layer in _leaving(pipeline, other, around)))
        kept = arriving
        if process.joins_data:
            kept = _without_last(kept, "data", name, settings)
        if process.joins_seeds:
            kept = _without_last(kept, "seed", name, settings)
        around[name] = kept
        joined = tuple(layer for layer in arriving if layer not in kept)
        for chosen in _combinations(kept):
            sources = [
                source
                for slot in _combinations(joined)
                for other in upstream
                for source in _sources(pipeline, other, around, chosen | slot, slot)
            ]
            seeds = [chosen[layer] for layer in kept if layer.kind == "seed"]
            path = _path(name, chosen, kept)
            unique = tuple(dict.fromkeys(sources))
            instances.append(Instance(process, path, seeds[-1] if seeds else None, unique))
    return instances


def _leaving(pipeline: Pipeline, name: str, around: dict[str, tuple[Layer, ...]]) -> tuple[Layer, ...]:
    process = pipeline.processes[name]
    own = []
    if process.rows is not None:
        own.append(Layer(name, "data", tuple(range(1, process.partitions + 1))))
    if process.seeds:
        own.append(Layer(name, "seed", process.seeds))
    return (*around[name], *own)


def _without_last(layers: tuple[Layer, ...], kind: Kind, name: str, settings: Settings) -> tuple[Layer, ...]:
    last = next((layer for layer in reversed(layers) if layer.kind == kind), None)
    if last is None:
        split = f"{kind}_parallelism"
        found = f"true, but no process before it has {split}"
        raise wrong(settings, f"processes.{name}.{kind}_aggregation", found, f"true after a split with {split}")
    return tuple(layer for layer in layers if layer != last)


def _combinations(layers: Sequence[Layer]) -> list[dict[Layer, int]]:
    return [dict(zip(layers, values, strict=True)) for values in itertools.product(*(layer.values for layer in layers))]


def _sources(
    pipeline: Pipeline,
    name: str,
    around: dict[str, tuple[Layer, ...]],
    chosen: dict[Layer, int],
    slot: dict[Layer, int],
) -> list[Source]:
    leaving = _leaving(pipeline, name, around)
    if any(layer not in leaving and value != layer.values[0] for layer, value in slot.items()):
        return []  # It is outside this layer: its outputs are used once.
    own = next((layer for layer in leaving if layer.split == name and layer.kind == "data"), None)
    places = tuple((layer.kind, layer.values.index(value) + 1) for layer, value in slot.items() if layer in leaving)
    path = _path(name, chosen, around[name])
    return [Source(path, name, None if own is None else chosen[own], places)]


def _path(name: str, chosen: dict[Layer, int], layers: Sequence[Layer]) -> str:
    by_kind = {kind: [chosen[layer] for layer in layers if layer.kind == kind] for kind in ("data", "seed")}
    return names.split_path(names.process_name(name), by_kind["data"], by_kind["seed"])
