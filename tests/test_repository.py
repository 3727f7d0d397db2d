"""What the repository holds, what it leaves out, and that what it says about itself is so."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import expops_prefect
from tests.support.shared_servers import LEVELS

pytestmark = pytest.mark.xdist_group("repository")

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "expops_prefect"
TOP_LEVEL = {
    *("pyproject.toml", "Makefile", ".gitignore", ".ci", "configs", "flows", "tests", "expops_prefect"),
    *(
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "zensical.toml",
        ".pre-commit-config.yaml",
    ),
}
README = (ROOT / "README.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert listed.returncode == 0, f"the repository is judged by what git tracks; run the suite in a clone: {listed}"
    return [name for name in listed.stdout.split("\0") if name]


def texts() -> Iterator[tuple[str, str]]:
    for name in tracked():
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".svg", ".gif"):
            yield name, path.read_text(encoding="utf-8")


# Files -------------------------------------------------------------------------------------------


def test_the_top_level_is_the_agreed_one() -> None:
    found = {name.split("/")[0] for name in tracked()}
    assert found - {"docs"} == TOP_LEVEL


def test_docs_hold_pages_and_what_they_show() -> None:
    for name in tracked():
        if name.startswith("docs/"):
            assert (
                Path(name).suffix == ".md"
                or name in ("docs/site.css", "docs/benchmarks.json")
                or (Path(name).suffix == ".png" and f"({name})" in README)
            ), name


@pytest.mark.parametrize("folder", ["expops_prefect/expops/bridge", "flows"])
def test_no_module_beside_a_flow_hides_one_of_python(folder: str) -> None:
    """Prefect puts the folder of a deployed flow's file first on the import path."""
    names = {Path(name).stem for name in tracked() if Path(name).parent == Path(folder)}
    assert names
    assert not names & sys.stdlib_module_names


HOSTS = {
    "README.md": {"www.prefect.io"},
    "docs/index.md": {"www.prefect.io"},
    "CHANGELOG.md": {"keepachangelog.com", "semver.org"},
    "LICENSE": {"www.apache.org"},
}
HOST = re.compile(r"(?:https?|git\+ssh|ssh|ftp)://(?:[^/@\s]*@)?([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
ANYWHERE = {"127.0.0.1", "localhost", "www.w3.org"}
SERVICES = (".googleapis.com", ".example", ".invalid")


def test_no_hosts_but_those_a_reader_may_follow() -> None:
    for name, text in texts():
        odd = set(HOST.findall(text)) - HOSTS.get(name, set()) - ANYWHERE
        assert not {host for host in odd if not host.endswith(SERVICES)}, f"{name} names {odd}"
        assert not re.search(r"--(extra-)?index-url|index-url\s*=|--registry|--find-links", text) or name == THIS, name


THIS = "tests/test_repository.py"
MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:work|root|home|Users|mnt|workspace)/\w")
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\\?n?[A-Za-z0-9+/]{20}|AIza[\w-]{35}|gh[pousr]_\w{36}|AKIA[A-Z0-9]{16}"
    r"|xox[abpr]-[\w-]{10}|ya29\.[\w-]{20}|eyJ[\w-]{20,}\.[\w-]{20,}\.|glpat-[\w-]{20}|npm_\w{36}|pypi-[\w-]{50}"
)


def test_no_machine_paths_and_no_secrets() -> None:
    for name, text in texts():
        for pattern in (MACHINE_PATH, SECRETS):
            found = pattern.search(text)
            assert found is None, f"{name}: {found and found[0][:12]}…"


@pytest.mark.parametrize("text", ["cd /%s/main", "'/%s/x'", "path=/%s/y", "(/%s/x)"])
def test_the_search_for_machine_paths_finds_some(text: str) -> None:
    for folder in ("work", "home", "root"):
        assert MACHINE_PATH.search(text % folder)
        assert not MACHINE_PATH.search(f"~/{folder}/x and gs://b/{folder}/x and .venv/{folder}/x")


def test_nothing_is_left_to_do_or_skipped() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX)\b|pytest\.skip|mark\.skip|mark\.xfail|importorskip")
    for name, text in texts():
        if name.endswith(".py") and name != THIS:
            found = unfinished.search(text)
            assert found is None, f"{name}: {found and found[0]}"


# Versions ----------------------------------------------------------------------------------------


def test_the_version_is_the_changelogs() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert versions, "the changelog names no version"
    assert versions[0] == PROJECT["version"] == version("expops-prefect"), "run: pip install -e '.[dev]'"


def test_supported_pythons_are_the_same_everywhere() -> None:
    supported = [
        f"3.{minor}" for minor in range(20) if SpecifierSet(PROJECT["requires-python"]).contains(f"3.{minor}.0")
    ]
    classifiers = [item.rsplit(" ", 1)[1] for item in PROJECT["classifiers"] if "Python :: 3." in item]
    assert classifiers == supported
    assert f"Python {supported[0]} to {supported[-1]}" in README
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert configured["mypy"]["python_version"] == supported[0]
    assert configured["ruff"]["target-version"] == "py" + supported[0].replace(".", "")


def requirements(extras: set[str]) -> Iterator[Requirement]:
    """What our own pyproject.toml asks for, extras that name our extras resolved."""
    optional = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if canonicalize_name(requirement.name) == "expops-prefect":
            yield from requirements(requirement.extras)
        else:
            yield requirement


def closure(extras: set[str]) -> Iterator[Requirement]:
    """Everything that an installation of these extras pulls in, as the installed distributions say."""
    seen: set[str] = set()
    waiting = list(requirements(extras))
    while waiting:
        requirement = waiting.pop()
        yield requirement
        key = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            pytest.fail(f"{requirement} is not installed; run: pip install -c configs/constraints.txt -e '.[dev]'")
        for need in map(Requirement, needs):
            chosen = ("", *requirement.extras)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in chosen):
                waiting.append(need)


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "configs" / "constraints.txt").read_text().splitlines()
    found = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    assert len({canonicalize_name(pin.name) for pin in found}) == len(found), "a distribution is pinned twice"
    return {canonicalize_name(pin.name): pin for pin in found}


def test_every_test_is_on_one_level(request: pytest.FixtureRequest) -> None:
    folders = {"e2e": "e2e", "interop": "e2e", "browser": "e2e", "config": "unit or integration"}
    for item in request.session.items:
        (level,) = (level for level in LEVELS if item.get_closest_marker(level) is not None)
        assert level in folders.get(item.path.relative_to(ROOT / "tests").parts[0], level), item.nodeid


def test_constraints_pin_exactly_and_from_anywhere() -> None:
    for pin in pins().values():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert "*" not in specifier.version, pin
        assert pin.url is None, pin
        assert not pin.extras, pin


def test_constraints_pin_all_that_the_suite_pulls_in() -> None:
    pinned = pins()
    # pip itself comes with the virtual environment.
    missing = {str(need) for need in closure({"dev"}) if canonicalize_name(need.name) not in {*pinned, "pip"}}
    assert not missing
    for need in closure({"dev"}):
        pin = pinned.get(canonicalize_name(need.name))
        if pin is not None:
            assert need.specifier.contains(next(iter(pin.specifier)).version, prereleases=True), f"{pin} against {need}"


# The package -------------------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Every module's dotted name below the package, and its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax, which several tests look through."""
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported anywhere, also inside functions; not those for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant))
        yield from imports(node)


def test_neither_expops_nor_the_tests_are_imported() -> None:
    for name, path in modules().items():
        tops = {imported.split(".")[0] for imported in imports(parsed(path))}
        assert not tops & {"expops", "tests", "flows"}, name


def test_only_the_configuration_reads_yaml_and_the_environment() -> None:
    for name, path in modules().items():
        # The table of known callables names it, and what a task reads of it, or polars for it, its result depends on.
        if name.split(".")[0] != "config" and name not in (
            "effects.table.environment",
            "effects.dependencies",
            "effects.ambient",
        ):
            source = path.read_text()
            assert not {"yaml", "ruamel"} & {found.split(".")[0] for found in imports(parsed(path))}, name
            assert not re.search(r"\bos\.(environ|getenv)\b", source), name


def test_only_names_makes_the_names_that_expops_reads() -> None:
    made = re.compile(r"""["'](?:runs|steps|process|metric):|//process\[@name|//\*\[@partition""")
    for name, path in modules().items():
        strings = [
            node.value
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and made.match(f'"{node.value}')
        ]
        # There those keys are taken apart.
        taking = ("firestore.layout", "firestore.scan", "redis.layout")
        known = name == "models.names" or name.removeprefix("stores.kv.") in taking
        known = known or name.startswith("testing.")
        assert known or not strings, f"{name}: {strings}"


def test_every_module_says_what_it_is() -> None:
    for name, path in modules().items():
        source = path.read_text()
        assert not source.strip() or ast.get_docstring(parsed(path)), name


PUBLIC = {
    *("flow", "task", "instrument", "log_metric", "log_metrics", "log_chart", "DataFile", "process_parameters"),
    *("EXPOPS", "ExpOpsCachePolicy", "expops_cache_key", "Project", "register_fingerprint"),
    *("ExpOpsResultStorage", "ExpOpsKeyStorage", "ExpOpsLockManager", "ExpOpsSerializer"),
}


def test_public_names() -> None:
    assert set(expops_prefect.__all__) >= PUBLIC
    assert sorted({*expops_prefect.__all__, *expops_prefect._PREFECTS}) == dir(expops_prefect)
    assert not expops_prefect._PREFECTS_MODULES & {path.stem for path in PACKAGE.iterdir()}, "ours come first"
    assert set(expops_prefect._HOMES) == set(expops_prefect.__all__)
    for name in expops_prefect.__all__:
        value = getattr(expops_prefect, name)
        assert value is not None
        assert getattr(value, "__doc__", None), f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        expops_prefect.nope  # noqa: B018
    (typed,) = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    for_types = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert for_types == set(expops_prefect.__all__) | expops_prefect._PREFECTS, "type checkers see the same names"


HEAVY = [
    "google.cloud",
    "grpc",
    "sqlite_utils",
    "pandas",
    "pyarrow",
    "polars",
    "sklearn",
    "matplotlib",
    "torch",
    "expops",
]
LOADED = "import json, sys; print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))"


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import expops_prefect", [*HEAVY, "prefect", "pydantic", "numpy", "yaml", "blake3", "importlib.metadata"]),
        (
            "from expops_prefect import flow, task, instrument, EXPOPS, ExpOpsResultStorage",
            [*HEAVY, "numpy", "cyclopts"],
        ),
        ("from expops_prefect import Project, log_metric, log_chart, DataFile", [*HEAVY, "numpy", "prefect"]),
    ],
)
def test_imports_stay_light(code: str, unwanted: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {LOADED}", *unwanted], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_entry_points_lead_somewhere() -> None:
    found = {(entry.group, entry.name): entry for entry in distribution("expops-prefect").entry_points}
    assert callable(found["console_scripts", "expops-prefect"].load())
    blocks = found["prefect.collections", "expops_prefect"].load()
    assert blocks.ExpOpsResultStorage._block_type_slug == "expops-result-storage"
    assert blocks.ExpOpsKeyStorage._block_type_slug == "expops-key-storage"
