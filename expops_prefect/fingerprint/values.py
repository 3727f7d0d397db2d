"""Fingerprints of values: equal if a task cannot tell two values apart, else different."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from blake3 import blake3

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint import original_forms
from expops_prefect.fingerprint.canonical import ATOMS, ENCODERS, Note, Refusal, Walk
from expops_prefect.fingerprint.encoding_primitives import FORMAT, roots_of
from expops_prefect.fingerprint.foreign import is_for_the_flow, said
from expops_prefect.fingerprint.registry import METHOD, register_fingerprint, resolve
from expops_prefect.fingerprint.sharing import Arguments, SharedWalk

__all__ = ["FORMAT", "fingerprint", "register_fingerprint"]

_HEAD: Final = b"expops-prefect value %d\n" % FORMAT
_NO_WALK: Final = Walk(resolve)
"""For values that contain no others; their encoders do not use it."""


def fingerprint(
    value: object,
    *,
    name: str = "value",
    classes: set[type] | None = None,
    notes: list[Note] | None = None,
    arguments: Arguments | None = None,
    root: Path | None = None,
) -> str:
    """The BLAKE3 digest of a value's canonical form.

    It is the same in every process, with every hash seed, and after copying and pickling. It differs for
    other types, dtypes, shapes, names, indexes or orders, and if a value contains the same mutable object
    twice instead of two equal ones.

    Args:
        value: anything but iterators, open files, locks and the like.
        name: the name of the value in errors, for example the parameter.
        classes: collects the classes of the objects in the value. Objects are hashed by class name and
            state; pass these classes to ``code_fingerprint`` to hash their code too.
        notes: collects the parts of the value, for :func:`~expops_prefect.fingerprint.value_summary.summary_of`.
        arguments: collects the mutable parts of the arguments of one call.
        root: the project's folder. Paths below it, as ``Path`` objects and as strings, are hashed relative to it, so
            that another checkout gets the same digest. They still differ from relative paths.

    Returns:
        64 hexadecimal digits.

    Raises:
        FingerprintError: a part cannot be fingerprinted; the error names its path and type.
    """
    if type(value) in ATOMS and not (root is not None and type(value) is str):
        form = ENCODERS[type(value)](_NO_WALK, value)
        return blake3(_HEAD + form).hexdigest()
    walking = original_forms.OriginalFormsWalk if original_forms.any_known() else Walk
    walk = walking(resolve, classes=classes, notes=notes, roots=roots_of(root))
    try:
        form = walk.encode(value)
        if walk.shared:
            form = original_forms.whole_form(value, SharedWalk(walk).encode(value))
    except Refusal as refusal:
        path = name + refusal.path
        kind = f"{refusal.kind.__module__}.{refusal.kind.__qualname__}"
        if unread := _unread(refusal.__cause__):
            message = f"{path}: {unread}"
            raise FingerprintError(message, path=path, type_name=kind, unread=unread) from refusal.__cause__
        message = (
            f"{path} of type {kind} cannot be fingerprinted: {refusal.reason}. "
            f"Leave it out of the key (ignore=), define {METHOD}() in its class, or use register_fingerprint()."
        )
        reason = "" if refusal.__cause__ is not None else refusal.reason  # an exception's text may hold secrets
        raise FingerprintError(message, path=path, type_name=kind, reason=reason) from refusal.__cause__
    except BaseException as error:  # other packages' classes may raise anything
        if is_for_the_flow(error):
            raise
        why = "it is nested too deeply" if isinstance(error, RecursionError) else said(error)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        message = f"{name} of type {kind} cannot be fingerprinted: {why}"
        raise FingerprintError(message, path=name, type_name=kind) from error
    if arguments is not None:
        arguments.add(name, value, walk)
    return blake3(_HEAD + form).hexdigest()


def _unread(error: BaseException | None) -> str:
    if not isinstance(error, OSError) or error.filename is None:
        return ""
    why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return f"{os.fsdecode(error.filename)} {why}"
