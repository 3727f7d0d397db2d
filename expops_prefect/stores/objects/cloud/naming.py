"""The names of objects in a bucket, and obstore's descriptions of them."""

from __future__ import annotations

from typing import Any, Final

from expops_prefect.errors import NameRefusedError
from expops_prefect.stores.objects.base import ObjectInfo, check_key

# obstore refuses control characters.
_CONTROLS: Final = {code: f"%{code:02X}" for code in (*range(1, 32), 127)}
_ENCODED: Final = str.maketrans({"%": "%25"} | {chr(code): text for code, text in _CONTROLS.items()})


def encoded(key: str) -> str:
    """A key, or the start of one, as it is in names."""
    return key.translate(_ENCODED)


def key_of(name: str) -> str | None:
    """The key of a name without the store's prefix; ``None`` for what is unfinished or foreign."""
    for code, text in _CONTROLS.items():
        name = name.replace(text, chr(code))
    name = name.replace("%25", "%")
    try:
        check_key(name)
    except NameRefusedError:
        return None
    return name


def described(key: str, found: Any, *, by_tag_alone: bool) -> ObjectInfo:
    """An object.

    Args:
        key: its key.
        found: obstore's description.
        by_tag_alone: whether its entity tag changes with every write.
    """
    when = int(found["last_modified"].timestamp())  # some listings have fractions of a second
    stamp = stamp_of(found["e_tag"])
    return ObjectInfo(key, found["size"], stamp if by_tag_alone else f"{stamp} {when}", when)


def stamp_of(tag: str | None) -> str:
    """The stamp of an object whose entity tag changes with every write."""
    # Answers have it in quotes, listings do not.
    return f"tag {(tag or '').strip(chr(34))}"
