"""The pickler and the unpickler: cloudpickle's, and what is of the script by its name too.

A stream is one that cloudpickle alone reads: there the classes of the script come by value. Their names stand where
cloudpickle leaves room: in the ``extra`` of a class, and in a name of a function that its state then sets anew.
"""

from __future__ import annotations

import functools
import io
import operator
import pickle
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, TypeVar

import cloudpickle
from cloudpickle import cloudpickle as by_value

from expops_prefect.fingerprint.identity import class_name, module_name, started_by_file
from expops_prefect.serialization import script_names

_EXTRA: Final = "expops_prefect"
_NAMED: Final = "expops-prefect "
_OF: Final = "expops-prefect of "
_NOTHING: Final = (None, None, None, None)
_POLARS: Final = frozenset({"polars.dataframe.frame", "polars.series.series"})
_CLOUDPICKLE: Final = "cloudpickle.cloudpickle"


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles what is of the script by value and by name.

    Attributes:
        kinds: the types of the objects that were met.
        named: whether something was met that has a name.
        names_only: what has a name is pickled by that alone. What a class refers to, such as a lock, need not
            be picklable then.
    """

    def __init__(self, file: Any, *, keep: Callable[[pickle.PickleBuffer], bool] | None, names_only: bool) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=keep)
        self.kinds: set[type] = set()
        self.named = False
        self.names_only = names_only

    def reducer_override(self, obj: Any) -> Any:
        """See :class:`pickle.Pickler`."""
        kind = type(obj)
        if kind is FunctionType:
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        if kind is TypeVar and script_names.is_of_script(obj):
            return by_value._make_typevar, by_value._decompose_typevar(obj)
        self.kinds.add(kind)
        special = _SPECIAL.get(kind)
        if special is None and kind.__module__ in _POLARS and kind.__name__ in ("DataFrame", "Series"):
            special = _of_polars
        return NotImplemented if special is None else special(obj)

    def _class(self, obj: Any) -> Any:
        if not script_names.is_of_script(obj):
            return super().reducer_override(obj)
        name, parameters = script_names.name_of(obj), None
        generic = getattr(obj, "__pydantic_generic_metadata__", None) or {}
        origin = generic.get("origin")
        if name is None and origin is not None:
            # Pydantic makes a class for each parameter, and none of them stands under its name.
            name, parameters = script_names.name_of(origin), generic["args"]
        self.named = self.named or name is not None
        if name is not None and self.names_only:
            if parameters is None:
                return script_names.load, (name,)
            return operator.getitem, (origin, parameters)
        constructor, (*given, _), *rest = by_value._dynamic_class_reduce(obj)
        module = class_name(obj).partition(":")[0]
        return constructor, (*given, {_EXTRA: (name, parameters, obj.__qualname__, module)}), *rest

    def _function(self, obj: Any) -> Any:
        if not script_names.is_of_script(obj):
            return self._function_reduce(obj)
        name = script_names.name_of(obj)
        self.named = self.named or name is not None
        if name is not None and self.names_only:
            return script_names.load, (name,)
        made = self._dynamic_function_reduce(obj)
        told = _OF + module_name(obj.__module__) if name is None else _NAMED + name
        constructor, (code, names, _, *given), *rest = made
        return constructor, (code, names, told, *given), *rest


class Unpickler(pickle.Unpickler):
    """Takes from the script that runs here what it has, and the rest by value."""

    def find_class(self, module: str, name: str, /) -> Any:
        """See :class:`pickle.Unpickler`."""
        if module == _CLOUDPICKLE:
            own = getattr(self, f"_expops{name}", None)
            if own is not None:
                return own
        found = script_names.find_imported(module, name)
        return super().find_class(module, name) if found is None else found

    def _expops_make_skeleton_class(self, *given: Any) -> Any:
        return self._in_script(by_value._make_skeleton_class, given)

    def _expops_make_skeleton_enum(self, *given: Any) -> Any:
        return self._in_script(by_value._make_skeleton_enum, given)

    def _expops_make_function(self, code: Any, names: Any, name: str | None, *given: Any) -> Any:
        if name is not None and name.startswith(_NAMED):
            found = script_names.find(name.removeprefix(_NAMED), FunctionType)
            if found is not None:
                return self._own(found)
        made = by_value._make_function(code, names, None, *given)
        if name is not None and name.startswith(_OF):
            self._modules[id(made)] = name.removeprefix(_OF)
        return made

    def _expops_class_setstate(self, made: Any, state: Any) -> Any:
        if id(made) in self._found:
            return made
        by_value._class_setstate(made, state)
        return self._named_as_here(made)

    def _expops_function_setstate(self, made: Any, state: Any) -> Any:
        if id(made) in self._found:
            return made
        by_value._function_setstate(made, state)
        return self._named_as_here(made)

    def _named_as_here(self, made: Any) -> Any:
        """A class or function that came by value, of the module that runs here: it may have been started otherwise."""
        module = self._modules.get(id(made))
        if module is not None and started_by_file(str(made.__module__)):
            made.__module__ = script_names.running_name(module)
        return made

    def _in_script(self, by_value: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        extra = given[-1]
        told = extra.get(_EXTRA, _NOTHING) if isinstance(extra, dict) else _NOTHING
        name, parameters, path, module = (*told, *_NOTHING)[:4]
        found = None if name is None else script_names.find(name, type)
        if found is not None:
            return self._own(found if parameters is None else found[parameters])
        made = by_value(*given)
        if path is not None:
            made.__qualname__ = path
        if module is not None:
            self._modules[id(made)] = module
        return made

    def _own(self, found: Any) -> Any:
        self._found[id(found)] = found
        return found

    @functools.cached_property
    def _modules(self) -> dict[int, str]:
        """The modules of what comes by value, by the names of their files."""
        return {}

    @functools.cached_property
    def _found(self) -> dict[int, Any]:
        """What was taken from the script, whose state stays as it is there."""
        return {}


def _cached_property(obj: functools.cached_property[Any]) -> Any:
    """Before Python 3.12 it holds a lock, and makes one when it is made."""
    return functools.cached_property, (obj.func,), {key: part for key, part in vars(obj).items() if key != "lock"}


def _memoryview(obj: memoryview) -> Any:
    """As itself; cloudpickle would make bytes of it."""
    if obj.format == "B" and obj.ndim == 1:
        return memoryview, (bytes(obj) if obj.readonly else bytearray(obj),)
    plain = memoryview(obj.tobytes() if obj.readonly else bytearray(obj.tobytes()))
    try:
        plain.cast(obj.format, obj.shape)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise pickle.PicklingError(f"a memoryview of the format {obj.format!r}") from error
    return memoryview.cast, (plain, obj.format, [*(obj.shape or ())])


def _text_file(obj: io.TextIOWrapper) -> Any:
    """Cloudpickle would make a text in memory of a file that is open for reading."""
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name):
            return getattr, (sys, name)
    raise pickle.PicklingError("it is an open file; return its path, or what it holds")


def _of_polars(obj: Any) -> Any:
    """Polars refuses to pickle what it holds as Python's own objects: they come as a list, the rest as itself."""
    import polars as pl

    if type(obj) is pl.Series:
        if obj.dtype == pl.Object:
            series: Any = pl.Series
            return functools.partial(series, dtype=pl.Object), (obj.name, obj.to_list())
    elif pl.Object in obj.dtypes:
        return pl.DataFrame, (obj.get_columns(),)
    return NotImplemented


_SPECIAL: Final[dict[type, Callable[[Any], Any]]] = {
    functools.cached_property: _cached_property,
    memoryview: _memoryview,
    io.TextIOWrapper: _text_file,
}
