"""The documents: the README and the pages of the site, with their examples and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "docs"
README: Final = "README.md"
_FENCED: Final = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages() -> dict[str, str]:
    """The text of each document by its path in the repository."""
    names = [README, *sorted(f"docs/{path.name}" for path in FOLDER.glob("*.md"))]
    return {name: (ROOT / name).read_text() for name in names}


def blocks(text: str, language: str) -> list[str]:
    """The examples of a document that are in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The commands that a document shows, without the comments beside them."""
    lines = [line for block in blocks(text, "bash") for line in block.splitlines()]
    return [line.partition(" # ")[0].strip() for line in lines if line.strip()]


def links(text: str) -> list[str]:
    """Where a document's links and pictures lead, without those to other sites."""
    found: list[str] = _LINK.findall(_FENCED.sub("", text))
    return [target for target in found if not target.startswith(("http:", "https:"))]


def documented(text: str) -> set[str]:
    """The names that a page of the API reference shows."""
    return set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The places of a page that a link can name: its headings, and the names that it documents."""
    return {slug(title) for title in _HEADING.findall(_FENCED.sub("", text))} | documented(text)


def slug(title: str) -> str:
    """A heading's anchor, as the site makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())
