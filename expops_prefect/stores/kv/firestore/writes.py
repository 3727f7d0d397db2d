"""Writes to Firestore, to be committed together, with their preconditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.field_path import render_field_path

from expops_prefect.stores.kv.firestore.target import Target
from expops_prefect.stores.kv.firestore.values import encode, encode_field

_Write: Final = types.Write.pb()
_Document: Final = types.Document.pb()
_Transform: Final = types.DocumentTransform.FieldTransform.pb()

ABSENT: Final = ""
"""The precondition that the document must not exist."""


class Writes:
    """Makes writes below a target's root.

    ``version`` is a precondition: the document must have this version, or must not exist
    (:data:`ABSENT`); ``None`` means no precondition.
    """

    def __init__(self, target: Target) -> None:
        self._head = f"{target.documents}/"

    def set(self, document: str, fields: Mapping[str, Any], version: str | None = None, *, native: bool = False) -> Any:
        """Replace a document.

        Args:
            document: its path.
            fields: all of its fields.
            version: see the class.
            native: keep large fields in Firestore's own form, so that single values in them can be changed later.
        """
        write = _Write(update=_Document(name=self._head + document))
        for name, value in fields.items():
            write.update.fields[name].CopyFrom(encode(value) if native else encode_field(value))
        return _with(write, version)

    def merge(
        self,
        document: str,
        values: Mapping[tuple[str, ...], Any],
        version: str | None = None,
        *,
        removed: Sequence[tuple[str, ...]] = (),
        added: Mapping[tuple[str, ...], int] | None = None,
        native: bool = False,
    ) -> Any:
        """Change some fields of a document and leave the others; create the document if it is missing.

        Args:
            document: its path.
            values: what to set.
            version: see the class.
            removed: fields to remove.
            added: what to add to numbers.
            native: see :meth:`set`.
        """
        write = _Write(update=_Document(name=self._head + document))
        write.update_mask.SetInParent()
        for path, value in values.items():
            fields = write.update.fields
            for name in path[:-1]:
                fields = fields[name].map_value.fields
            fields[path[-1]].CopyFrom(encode(value) if native else encode_field(value))
            write.update_mask.field_paths.append(render_field_path(path))
        write.update_mask.field_paths.extend(map(render_field_path, removed))
        for path, number in (added or {}).items():
            write.update_transforms.append(
                _Transform(field_path=render_field_path(path), increment={"integer_value": number})
            )
        return _with(write, version)

    def delete(self, document: str, version: str | None = None, *, must_exist: bool = False) -> Any:
        """Remove a document."""
        write = _with(_Write(delete=self._head + document), version)
        if must_exist:
            write.current_document.exists = True
        return write


def version_of(result: Any) -> str:
    """The version of a document after a write."""
    return f"{result.update_time.seconds}.{result.update_time.nanos:09}"


def is_version(text: str) -> bool:
    """Whether a text can be a version."""
    seconds, dot, nanos = text.partition(".")
    return bool(dot) and len(nanos) == 9 and (seconds + nanos).isascii() and (seconds + nanos).isdigit()


def _with(write: Any, version: str | None) -> Any:
    if version == ABSENT:
        write.current_document.exists = False
    elif version is not None:
        seconds, _, nanos = version.partition(".")
        write.current_document.update_time.seconds = int(seconds)
        write.current_document.update_time.nanos = int(nanos)
    return write
