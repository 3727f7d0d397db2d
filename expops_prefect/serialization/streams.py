"""The pickler and the unpickler: cloudpickle's, which also store the names of the script's classes and functions.

Plain cloudpickle can read a stream; it loads the classes of the script by value. Their names are stored where
cloudpickle leaves room: in the ``extra`` of a class, and in a function's name, which its state later replaces.
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
    """Pickles objects of the script by value and by name.

    Attributes:
        kinds: the types of the pickled objects.
        named: whether an object with a name was pickled.
        names_only: pickle objects with a name by the name alone, so that what a class refers to, such as a lock,
            need not be picklable.
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
            # Pydantic creates a class for each parameter, and none of them can be found by its name.
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
    """Loads objects that the running script has from there, and others by value."""

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
        """Name the module of a class or function loaded by value as it is here, where it may run differently."""
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
        """The modules of the objects loaded by value, as the names of their files."""
        return {}

    @functools.cached_property
    def _found(self) -> dict[int, Any]:
        """Objects taken from the script, whose state is not replaced."""
        return {}


def _cached_property(obj: functools.cached_property[Any]) -> Any:
    """Leave out the lock that it has before Python 3.12, and creates for itself."""
    return functools.cached_property, (obj.func,), {key: part for key, part in vars(obj).items() if key != "lock"}


def _memoryview(obj: memoryview) -> Any:
    """Pickle a memoryview as one; cloudpickle would turn it into bytes."""
    if obj.format == "B" and obj.ndim == 1:
        return memoryview, (bytes(obj) if obj.readonly else bytearray(obj),)
    plain = memoryview(obj.tobytes() if obj.readonly else bytearray(obj.tobytes()))
    try:
        plain.cast(obj.format, obj.shape)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise pickle.PicklingError(f"a memoryview of the format {obj.format!r}") from error
    return memoryview.cast, (plain, obj.format, [*(obj.shape or ())])


def _text_file(obj: io.TextIOWrapper) -> Any:
    """Refuse an open file; cloudpickle would turn one that is open for reading into text in memory."""
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name):
            return getattr, (sys, name)
    raise pickle.PicklingError("it is an open file; return its path, or its content")


def _of_polars(obj: Any) -> Any:
    """Pickle polars columns of Python objects, which polars refuses, as a list, and others as they are."""
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
