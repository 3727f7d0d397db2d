"""Encoders for SQLAlchemy statements and expressions: by their SQL, their bound values, and the types.

They name bound values by addresses, so they cannot be walked.
"""

from __future__ import annotations

from typing import Any, Final

from expops_prefect.fingerprint.canonical import Encoder, Refusal, Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.foreign import is_for_the_flow
from expops_prefect.fingerprint.identity import class_name


def _statement(walk: Walk, value: Any) -> bytes:
    from expops_prefect.fingerprint.objects import encode_object

    if hasattr(value, "foreign_keys") and hasattr(value, "nullable"):
        return encode_object(walk, value)  # a column of a table, which is more than its name
    mark = walk.mark
    known = walk.enter(value)
    if known is not None:
        return known
    try:
        form = _form(walk, value)
    except (Refusal, RecursionError):
        raise
    except BaseException as error:  # from a dialect, or from mapped classes that are incomplete
        if is_for_the_flow(error):
            raise
        return walk.failed(value, mark, error)
    return walk.leave(value, form)


def _form(walk: Walk, value: Any) -> bytes:
    compiled = value.compile()
    bound = {name: (_type(part.type), part.expanding) for part, name in compiled.bind_names.items()}
    columns = [_type(column.type) for column in getattr(value, "selected_columns", ())]
    options = {key: part for key, part in dict(getattr(value, "_execution_options", {})).items() if type(key) is str}
    key = str(getattr(value, "key", ""))
    name = "" if key.startswith("%(") else key  # an address
    parts = [name, compiled.params, bound, columns, _type(getattr(value, "type", None)), options]
    return named("statement", text(class_name(type(value))), text(str(compiled)), *map(walk.encode, parts))


def _type(kind: Any) -> tuple[str, str]:
    """A column type by class and ``repr``; its state contains caches."""
    return class_name(type(kind)), repr(kind)


ENCODERS: Final[dict[str, Encoder]] = {
    "sqlalchemy.sql.elements:ColumnElement": _statement,
    "sqlalchemy.sql.selectable:SelectBase": _statement,
    "sqlalchemy.sql.dml:UpdateBase": _statement,
}
"""Encoders by module and name of the class."""
