"""The documents hold together: links, public names, generated parts, the site."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from expops_prefect.config import load, model
from expops_prefect.stores import registry
from tests.documents import checks
from tests.documents.generated import ENVIRONMENT, LEGACY, OTHER_VARIABLES, SECTIONS, attributes, renewed
from tests.documents.pages import ROOT, anchors, links, pages, slug

PAGES = pages()
LOADED = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?(https?:[^\"' >]+)")


def test_links_lead_somewhere_and_public_names_are_documented() -> None:
    assert checks.problems() == []


def test_the_checks_find_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = dict(PAGES)
    texts["docs/limits.md"] += (
        "\n[a](nowhere.md) [b](caching.md#nowhere) [c](../LICENSE)\n[d](api.md#expops_prefect.nowhere)\n"
    )
    texts["docs/limits.md"] += "![e](nowhere.png)\n"
    texts["docs/api.md"] = texts["docs/api.md"].replace("::: expops_prefect.task\n", "")
    monkeypatch.setattr(checks, "pages", lambda: texts)
    found = checks.problems()
    for problem in (
        "docs/limits.md: the link nowhere.md leads to no file",
        "docs/limits.md: the link nowhere.png leads to no file",
        "docs/limits.md: the link caching.md#nowhere leads to no heading",
        "docs/limits.md: the link ../LICENSE leads out of the site",
        "docs/limits.md: the link api.md#expops_prefect.nowhere leads to no heading",
        "expops_prefect.task is not in the API reference",
    ):
        assert problem in found


def test_a_name_without_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare() -> None: ...

    monkeypatch.setattr(checks, "public", lambda module: [("task", bare)] if module == "expops_prefect" else [])
    assert checks.problems() == ["expops_prefect.task has no docstring"]


@pytest.mark.parametrize("name", list(PAGES))
def test_generated_parts_are_fresh(name: str) -> None:
    assert PAGES[name] == renewed(name, PAGES[name]), "run: python -m tests.documents"


def test_every_section_and_key_of_the_configuration_is_described() -> None:
    models = {value for value in vars(model).values() if isinstance(value, type) and issubclass(value, BaseModel)}
    structure = {BaseModel, model._Closed, model._Open, model.CacheSection, model.ExperimentSection}
    assert models - structure == {*SECTIONS.values(), *LEGACY}
    for cls in SECTIONS.values():
        assert set(attributes(cls)) == set(cls.model_fields), cls


def test_the_variables_that_are_read_are_named() -> None:
    assert all(map(registry.kv_settings, registry.names(registry.KV_GROUP)))
    assert all(map(registry.object_settings, registry.names(registry.OBJECT_GROUP)))
    named = {name for names in ENVIRONMENT.values() for name in names} | set(OTHER_VARIABLES)
    assert named == {*load._ENVIRONMENT, *registry.environment()}
    for text in PAGES.values():
        assert set(re.findall(r"\b(?:EXPOPS|MLOPS)_[A-Z_]+", text)) <= named


def test_the_navigation_has_every_page() -> None:
    shown = set(re.findall(r'"([\w-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    assert shown == {Path(name).name for name in PAGES if name.startswith("docs/")}
    for name in shown - {"index.md"}:
        assert f"docs/{name}" in links(PAGES["README.md"]), "the README leads to it"


def test_anchors_are_those_of_the_site() -> None:
    assert slug("The project's root") == "the-projects-root"
    assert slug("`expops-prefect runs list`") == "expops-prefect-runs-list"
    assert anchors("# A b\n## C's d\n```\n# no\n```\n::: e.f\n") == {"a-b", "cs-d", "e.f"}


if sys.version_info >= (3, 11):  # which the generator of the site needs

    def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
        config = (ROOT / "zensical.toml").read_text()
        for place in ('"."', '"tests/documents/roles.py"'):  # the others are below the copy
            assert f"[{place}]" in config
            config = config.replace(f"[{place}]", f'["{(ROOT / place.strip(chr(34))).as_posix()}"]')
        (tmp_path / "zensical.toml").write_text(config)
        shutil.copytree(ROOT / "docs", tmp_path / "docs")
        program = Path(sys.executable).with_name("zensical")
        done = subprocess.run([program, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        pages_ = list((tmp_path / "site").rglob("*.html"))
        assert len(pages_) == len([name for name in PAGES if name.startswith("docs/")]) + 1
        for page in pages_:
            loaded = LOADED.findall(page.read_text())
            assert not loaded, f"{page} loads {loaded}"
