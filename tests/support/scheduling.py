"""Which worker runs which test: a file that marks itself with ``xdist_group`` stays together.

Its fixtures are then made once. xdist's own ``loadgroup`` adds the group to a test's id, which
pytest 9.2 no longer lets it do.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_ROOT: Final = Path(__file__).resolve().parents[2]


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Spreads tests one by one, but for files that want to stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if stays_together(file) else nodeid


@cache
def stays_together(file: str) -> bool:
    """Whether a test file marks all its tests as one group."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    return re.search(r"^pytestmark = (\[[^\]]*|.*)\bxdist_group\(", text, re.MULTILINE) is not None
