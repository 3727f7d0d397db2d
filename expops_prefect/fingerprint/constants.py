"""Values that code refers to: constants of modules and classes, defaults, closures."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

from expops_prefect.fingerprint.canonical import Walk
from expops_prefect.fingerprint.compiled import compiled_form
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.foreign import is_for_the_flow
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.fingerprint.sources import function_source
from expops_prefect.fingerprint.third_party import external_form, external_name, module_of, owner_of_function


def constant_form(
    value: Any,
    found: list[tuple[bytes, Any]] | None = None,
    classes: set[type] | None = None,
    roots: tuple[str, ...] = (),
) -> bytes:
    """The form of a constant. It never fails: a lock or a client in it is encoded by its type.

    Args:
        value: the constant.
        found: collects the functions, classes and modules in it, each with its form here: its own
            source only, not the code that it refers to.
        classes: collects the classes of the objects in it.
        roots: the project's folder; paths below it are relative to it.
    """

    def on_callable(inner: Any) -> bytes:
        form = _local_form(inner)
        if found is not None:
            found.append((form, inner))
        return form

    try:
        return Walk(resolve, lenient=True, classes=classes, on_callable=on_callable, roots=roots).encode(value)
    except BaseException as error:
        if is_for_the_flow(error):
            raise
        return named("opaque", text(class_name(type(value))))


def _local_form(value: Any) -> bytes:
    if isinstance(value, FunctionType) and owner_of_function(value) is Owner.PROJECT:
        return named("function", function_source(value.__code__, value.__globals__).digest)
    if isinstance(value, (FunctionType, type, ModuleType)):
        form = external_form(value)
        return form if form is not None else named("own", text(value.__name__))
    return named("external", text(external_name(value)), *_compiled(module_of(value)))


def _compiled(module: str) -> tuple[bytes, ...]:
    form = compiled_form(module)
    return (form,) if form else ()
