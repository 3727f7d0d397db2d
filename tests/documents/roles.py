"""For the API reference: cross-references of docstrings, such as ``:class:`Project```, as plain code."""

from __future__ import annotations

import re
from typing import Any, Final

from griffe import Extension, Object

_ROLE: Final = re.compile(r":(?:func|class|meth|data|mod|attr|exc):`~?([^`]+)`")


class Roles(Extension):
    """Changes the docstrings that mkdocstrings shows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for each object whose members are loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
