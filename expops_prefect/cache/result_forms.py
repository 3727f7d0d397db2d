"""What the record says of a result's value: whether it contains paths of this checkout, and its fingerprints.

A loaded value may have another fingerprint than the original, because its class leaves something out. Tasks that took
the original as an argument have its fingerprint in their keys. To make them hits in the next run, the record keeps both
fingerprints if they differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from expops_prefect._internal.figures import undisturbed
from expops_prefect.cache import lossy, stability
from expops_prefect.errors import IntegrityError
from expops_prefect.fingerprint import original_forms
from expops_prefect.fingerprint.canonical import ATOMS, Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import roots_of
from expops_prefect.fingerprint.foreign import is_for_the_flow
from expops_prefect.fingerprint.original_forms import Forms
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.serialization.manifest import Packed, unpack
from expops_prefect.serialization.payloads import Mapping, PayloadRef
from expops_prefect.stores.objects.base import Buffer

_ATOMS: Final = ATOMS - {str}
_KEPT: Final = frozenset({"builtins", "datetime", "decimal", "fractions", "numpy", "pathlib", "uuid"})
"""Modules whose objects are loaded unchanged."""
_SPARSE: Final = [f"scipy.cs{way}_{kind}" for way in "cr" for kind in ("array", "matrix")]
_ARRAYS: Final = frozenset({"numpy.ndarray", *_SPARSE})
_FRAMES: Final = frozenset({"pandas.DataFrame", "pandas.Series", "polars.DataFrame", "polars.Series"})
_OF_FRAMES: Final = frozenset({"_mgr", "_item_cache", "_attrs", "_flags", "_cacher", "_name", "_df", "_s"})
_LARGEST: Final = 64 << 20
"""Larger results are not loaded again for comparison."""


def describe(result: Any, packed: Packed | None, root: Path, task: str = "") -> tuple[str, str]:
    """What the record says of a result's value.

    Args:
        result: what a task returned.
        packed: the result in bytes.
        root: the project's folder.
        task: the name of the task, for warnings about results that lose something.

    Returns:
        The project's :func:`place_of`, if the result contains paths below its root; and its fingerprints, if they
        differ from those of the loaded value. Each is empty otherwise.
    """
    kind = type(result)
    if kind in _ATOMS or _is_data(result):
        return "", ""
    kinds: set[type] = set()

    def met(other: type) -> Encoder:
        kinds.add(other)
        return resolve(other)

    walk = Walk(met, lenient=True, roots=roots_of(root), on_callable=lambda _: b"")
    try:
        walk.encode(result)
    except BaseException as error:
        if is_for_the_flow(error):
            raise
    changes = any(other.__module__ not in _KEPT or issubclass(other, BaseException) for other in kinds)
    return place_of(root) if walk.rooted else "", _differing_forms(
        result, packed, root, task
    ) if changes and packed else ""


def _is_data(result: Any) -> bool:
    """Whether it is an array or a frame, which is not searched and is loaded unchanged."""
    kind = type(result)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if name in _ARRAYS or name not in _FRAMES or set(getattr(result, "__dict__", ())) - _OF_FRAMES:
        return name in _ARRAYS
    if name.startswith("polars"):
        return True
    from expops_prefect.fingerprint.frames import set_on

    return not any(set_on(getattr(result, axis)) for axis in ("index", "columns") if hasattr(result, axis))


def place_of(root: Path) -> str:
    """A digest of the path of a project's folder; the path itself may be confidential."""
    return blake3(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest(8)


def remember(value: Any, stands: str, root: Path) -> None:
    """Give a loaded result the fingerprint of the original, as its record says.

    Args:
        value: the loaded result.
        stands: the fingerprints in the record, see :func:`describe`.
        root: the project's folder.
    """
    stored, _, loaded = stands.partition(" ")
    try:
        forms = Forms.load(loaded)
        original_forms.remember(value, forms, Forms.load(stored))
        if original_forms.forms_of(value, roots_of(root)) != forms:
            stability.came_back_otherwise(value)
    except ValueError as error:
        raise IntegrityError(f"the record's fingerprints cannot be read: {error}") from error


def _differing_forms(result: Any, packed: Packed, root: Path, task: str) -> str:
    if len(packed.manifest) + sum(payload.ref.size for payload in packed.payloads) > _LARGEST:
        return ""
    stored = original_forms.forms_of(result, roots_of(root))
    try:
        if stored is None:
            return ""
        with undisturbed() as seen:
            again = unpack(packed.manifest, Held(packed, root))
            seen.append(again)
            # Also if the fingerprints are equal: what a class leaves out of its state is not in a fingerprint.
            lossy.tell(task, result, again)
            loaded = original_forms.forms_of(again, roots_of(root))
            if loaded is None or stored == loaded:
                return ""
    except BaseException as error:
        if is_for_the_flow(error):
            raise
        return ""  # a result that cannot be loaded is not a hit either
    return f"{stored.dump()} {loaded.dump()}"


class Held:
    """The payloads of a result that is not stored yet."""

    mmap: Mapping = "off"

    def __init__(self, packed: Packed, root: Path) -> None:
        self.project_root = root
        self._payloads = {payload.ref: payload for payload in packed.payloads}

    def data(self, ref: PayloadRef) -> Buffer:
        """See :class:`PayloadReader`; a copy, because loading may change it."""
        return bytearray(b"".join(memoryview(part).cast("B") for part in self._payloads[ref].parts))

    def file(self, ref: PayloadRef) -> Path | None:  # noqa: ARG002
        """See :class:`PayloadReader`."""
        return None
