"""Encoders for SQLAlchemy's mapped classes: by their tables and attributes, and by the project's event listeners.

The class statement is hashed by its source. The mapper's other state is not walked, because it depends on earlier use
and identifies its parts by addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final

from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.third_party import owner_of_function

_MOST_DEEP: Final = 4


def _registry(walk: Walk, value: Any) -> bytes:
    return named("registry of classes", walk.encode(value.metadata), *_listeners(walk, value))


def _manager(walk: Walk, value: Any) -> bytes:
    return _of_class(walk, value, value.class_)


def _mapper(walk: Walk, value: Any) -> bytes:
    return _of_class(walk, value, value.class_)


def _attribute(walk: Walk, value: Any) -> bytes:
    return named("mapped attribute", text(str(value.key)), _of_class(walk, value, value.class_))


def _of_class(walk: Walk, value: Any, cls: type) -> bytes:
    """A mapped class, with the listeners of it and its parts."""
    mapper = vars(cls).get("__mapper__")
    parts = [] if mapper is None else [walk.encode(mapper.local_table), *_properties(walk, mapper)]
    around = () if mapper is None else (mapper, mapper.class_manager, *mapper.class_manager.values())
    heard = [form for part in (value, *around) for form in _listeners(walk, part)]
    return named("mapped class", text(class_name(cls)), *parts, *sorted(set(heard)))


def _properties(walk: Walk, mapper: Any) -> Iterator[bytes]:
    """The properties of a mapper by their declarations; its public API would make it resolve other classes."""
    for key, known in sorted(mapper._props.items()):
        columns = [str(column) for column in getattr(known, "columns", ())]
        argument = getattr(known, "argument", None)
        yield named("property", text(key), text(class_name(type(known))), walk.encode(columns), text(_said(argument)))


def _said(argument: Any) -> str:
    """The target of a relation, a name or a class, as text."""
    if isinstance(argument, type):
        return class_name(argument)
    return argument if isinstance(argument, str) else type(argument).__name__


def _listeners(walk: Walk, value: Any) -> list[bytes]:
    """The project's functions that listen to events of a part, without SQLAlchemy's own, which it adds as it works."""
    dispatch = getattr(value, "dispatch", None)
    found = []
    for event in sorted(getattr(dispatch, "_event_names", ())):
        for listener in getattr(dispatch, event):
            found += [named("listener", text(event), walk.encode(function)) for function in _own(listener, _MOST_DEEP)]
    return found


def _own(listener: Any, deep: int) -> Iterator[FunctionType]:
    """The project's function inside SQLAlchemy's wrappers of a listener."""
    listener = getattr(listener, "__func__", listener)
    if not isinstance(listener, FunctionType) or not deep:
        return
    if owner_of_function(listener) is Owner.PROJECT:
        yield listener
        return
    for cell in listener.__closure__ or ():
        try:
            yield from _own(cell.cell_contents, deep - 1)
        except ValueError:  # not bound yet
            continue


ENCODERS: Final[dict[str, Encoder]] = {
    "sqlalchemy.orm.decl_api:registry": _registry,
    "sqlalchemy.orm.instrumentation:ClassManager": _manager,
    "sqlalchemy.orm.mapper:Mapper": _mapper,
    "sqlalchemy.orm.attributes:QueryableAttribute": _attribute,
}
"""Encoders by module and name of the class."""
