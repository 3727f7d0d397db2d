"""The outcomes of two runs of one suite, and how they differ."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import yaml

ABSENT = "not collected"


@dataclass(frozen=True)
class Difference:
    """A test with two outcomes."""

    test: str
    plain: str
    ours: str


@dataclass(frozen=True)
class Known:
    """A difference that is meant to be.

    Attributes:
        test: the test's name, or a pattern of names; a bracket is itself.
        reason: why.
    """

    test: str
    reason: str

    def covers(self, test: str) -> bool:
        """Whether it speaks of a test."""
        return fnmatch.fnmatchcase(test, self.test.replace("[", "[[]"))


def known_differences(file: Path) -> list[Known]:
    """What stands in a file of known differences.

    Raises:
        ValueError: an entry has no reason.
    """
    entries = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    for entry in entries:
        if not entry.get("reason", "").strip():
            raise ValueError(f"{file}: {entry.get('test')} has no reason")
    return [Known(entry["test"], entry["reason"]) for entry in entries]


def read_outcomes(report: Path) -> dict[str, str]:
    """The outcome of each test in a report of pytest's, by the test's name."""
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("file") or ""
        module = file.removesuffix(".py").replace("/", ".")
        classes = (case.get("classname") or "").removeprefix(module).strip(".")
        parts = [file, *filter(None, classes.split(".")), case.get("name") or ""]
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        test = "::".join(parts)
        if outcomes.get(test, "passed") == "passed":  # an error of its end comes beside its success
            outcomes[test] = outcome
    return outcomes


def differences(plain: dict[str, str], ours: dict[str, str]) -> list[Difference]:
    """The tests whose outcomes differ."""
    pairs = ((test, plain.get(test, ABSENT), ours.get(test, ABSENT)) for test in sorted(plain.keys() | ours.keys()))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
