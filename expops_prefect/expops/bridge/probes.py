"""The data of a chart: its ``probe_paths``, XPath over the tree of the pipeline, and the metrics found there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from expops_prefect.config import Settings
from expops_prefect.expops.bridge.core import expops
from expops_prefect.expops.bridge.expansion import Instance
from expops_prefect.expops.bridge.pipeline import wrong
from expops_prefect.models.names import parse_path, process_name, step_path

_LAYER: Final = re.compile(r"\*\[@(partition|seed)='([^']*)'\]")


def check_selectors(instances: Iterable[Instance], settings: Settings) -> None:
    """Check that every selector is an XPath expression.

    Raises:
        ConfigurationError: one is not.
    """
    for process in dict.fromkeys(instance.process.name for instance in instances if instance.process.probe_paths):
        paths = next(item.process.probe_paths for item in instances if item.process.name == process)
        for key, path in paths.items():
            try:
                _etree().XPath(path)
            except _etree().XPathError:
                allowed = "an XPath such as //*[@name='train']"
                raise wrong(settings, f"processes.{process}.probe_paths.{key}", repr(path), allowed) from None


def chart_metrics(selectors: Mapping[str, str], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics for a chart.

    Args:
        selectors: XPath expressions by the chart's own names.
        metrics: by the probe paths of all processes, and then by step; ``""`` for the process's own.

    Returns:
        Metrics under the chart's own name if it matched one path, or under each probe path if it matched several.
        They are also under the name of the process, with the suffix ``__2`` and so on for further ones.
    """
    tree = _tree(metrics)
    found: dict[str, tuple[str, str]] = {}
    for name, selector in selectors.items():
        matched = tree.xpath(selector)
        nodes = matched if isinstance(matched, list) else []
        places = [place for place in dict.fromkeys(map(_place, nodes)) if place is not None]
        if len(places) == 1:
            found[name] = places[0]
        else:
            found.update({_written(place): place for place in places})
    values = {name: metrics[path].get(step, {}) for name, (path, step) in found.items()}
    aliases: dict[str, Any] = {}
    for name, (path, _) in found.items():
        parsed = parse_path(path)
        short = base = path if parsed is None else parsed.process
        number = 2
        while short in values or short in aliases:
            short, number = f"{base}__{number}", number + 1
        aliases[short] = values[name]
    return {**values, **aliases}


def _tree(metrics: Mapping[str, Mapping[str, Any]]) -> Any:
    """The pipeline as a tree: splits, processes below them, steps below these."""
    etree = _etree()
    root = etree.Element("pipeline")
    layers: dict[str, Any] = {}
    for path, by_step in metrics.items():
        at, so_far = root, ""
        for kind, value in _LAYER.findall(path):
            so_far += f"/{kind}={value}"
            if so_far not in layers:
                layers[so_far] = etree.SubElement(at, kind, {kind: value})
            at = layers[so_far]
        parsed = parse_path(path)
        process = etree.SubElement(at, "process", {"name": path if parsed is None else parsed.process, "path": path})
        for step in filter(None, by_step):
            etree.SubElement(process, "step", {"name": step, "path": path})
    return root


def _place(node: Any) -> tuple[str, str] | None:
    """The probe path of the process, and the step, of a node; ``None`` for any other XPath result."""
    if getattr(node, "tag", None) == "process":
        return node.get("path"), ""
    if getattr(node, "tag", None) == "step":
        return node.get("path"), node.get("name")
    return None


def _written(place: tuple[str, str]) -> str:
    path, step = place
    return step_path(path, process_name(step)) if step else path


def _etree() -> Any:
    expops("expops.core")  # which installs lxml
    from lxml import etree

    return etree
