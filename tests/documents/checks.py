"""What has to hold for the documents: links lead somewhere, and every public name is documented."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from posixpath import dirname, join, normpath
from typing import Final

from tests.documents.pages import README, ROOT, anchors, documented, links, pages

API: Final = ("docs/api.md", "docs/api-backends.md")
MODULES: Final = ("expops_prefect", "expops_prefect.maintenance", "expops_prefect.testing")
"""Modules of which each name in ``__all__`` is public."""


def problems() -> list[str]:
    """What is wrong with the documents, a line each."""
    texts = pages()
    return [*_links(texts), *_undocumented(texts)]


def _links(texts: dict[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        for target in links(text):
            path, _, anchor = target.partition("#")
            file = normpath(join(dirname(name), path)) if path else name
            if not (ROOT / file).is_file():
                yield f"{name}: the link {target} leads to no file"
            elif name != README and not file.startswith("docs/"):
                yield f"{name}: the link {target} leads out of the site"
            elif anchor and anchor not in anchors(texts.get(file, "")):
                yield f"{name}: the link {target} leads to no heading"


def _undocumented(texts: dict[str, str]) -> Iterator[str]:
    shown = {name for page in API for name in documented(texts[page])}
    for module in MODULES:
        for name, value in public(module):
            full = f"{module}.{name}"
            # The function has the name of its module, which would be shown in its place.
            if full not in shown and f"{full}.{name}" not in shown:
                yield f"{full} is not in the API reference"
            for label, item in [(full, value), *_members(full, value)]:
                if not inspect.getdoc(item):
                    yield f"{label} has no docstring"


def public(module: str) -> Iterator[tuple[str, object]]:
    """The public names of a module and what they stand for."""
    loaded = importlib.import_module(module)
    for name in loaded.__all__:
        yield name, getattr(loaded, name)


def _members(full: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, type) and not full.startswith("expops_prefect.testing."):  # whose members are tests
        for name, member in vars(value).items():
            if not name.startswith("_") and callable(member):
                yield f"{full}.{name}", member
