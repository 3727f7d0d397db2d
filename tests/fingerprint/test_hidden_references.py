"""Ways in which code comes to depend on other code without naming it plainly: an edit there is seen, too.

Each case is a project of a few files with a function ``entry`` in ``main.py``, and an edit that changes
what ``entry(1)`` returns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Case:
    """A project and an edit.

    Attributes:
        name: how the code depends on what is edited.
        files: the project.
        edit: a file, what stands in it once, and what in its place.
    """

    name: str
    files: Mapping[str, str]
    edit: tuple[str, str, str]

    def write(self, root: Path, *, edited: bool) -> Path:
        """Write the project, as it is or edited; its folder."""
        for path, text in self.files.items():
            written = textwrap.dedent(text).lstrip("\n")
            if edited and path == self.edit[0]:
                assert written.count(self.edit[1]) == 1, self.name
                written = written.replace(*self.edit[1:])
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(written)
        return root


CASES = [
    Case(
        "lazy from pkg import submodule bound in __init__",
        {
            "pkg/__init__.py": """
            from . import near
            """,
            "pkg/near.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                from pkg import near
                return near.f(x)
            """,
        },
        edit=("pkg/near.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy import pkg; pkg.near.f",
        {
            "pkg/__init__.py": """
            from . import near
            """,
            "pkg/near.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                import pkg
                return pkg.near.f(x)
            """,
        },
        edit=("pkg/near.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy from pkg import f re-exported",
        {
            "pkg/__init__.py": """
            from .near import f
            """,
            "pkg/near.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                from pkg import f
                return f(x)
            """,
        },
        edit=("pkg/near.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy from pkg import name via star",
        {
            "pkg/__init__.py": """
            from .near import *
            """,
            "pkg/near.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                from pkg import f
                return f(x)
            """,
        },
        edit=("pkg/near.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy from pkg import f (f in submodule of same name)",
        {
            "pkg/__init__.py": """
            from .f import f
            """,
            "pkg/f.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                from pkg import f
                return f(x)
            """,
        },
        edit=("pkg/f.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: helper module imports sibling with 'from pkg import other'",
        {
            "pkg/__init__.py": """
            from . import other
            """,
            "pkg/other.py": """
            def g(x):
                return x + 1
            """,
            "pkg/near.py": """
            from pkg import other
            def f(x):
                return other.g(x)
            """,
            "main.py": """
            def entry(x):
                from pkg.near import f
                return f(x)
            """,
        },
        edit=("pkg/other.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: 'import pkg.deep.mod as m' used",
        {
            "pkg/__init__.py": """

            """,
            "pkg/deep/__init__.py": """

            """,
            "pkg/deep/mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                import pkg.deep.mod as m
                return m.f(x)
            """,
        },
        edit=("pkg/deep/mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: parent package __init__ code",
        {
            "pkg/__init__.py": """
            import builtins
            builtins.STEP = 1
            """,
            "pkg/mod.py": """
            def f(x):
                return x + STEP
            """,
            "main.py": """
            def entry(x):
                import pkg.mod as m
                return m.f(x)
            """,
        },
        edit=("pkg/__init__.py", "STEP = 1", "STEP = 2"),
    ),
    Case(
        "lazy: name bound in if",
        {
            "mod.py": """
            import sys
            if sys.version_info > (3,):
                def f(x):
                    return x + 1
            else:
                def f(x):
                    return x
            """,
            "main.py": """
            def entry(x):
                from mod import f
                return f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: try import",
        {
            "a1.py": """
            def f(x):
                return x + 1
            """,
            "mod.py": """
            try:
                from a1 import f
            except ImportError:
                f = None
            """,
            "main.py": """
            def entry(x):
                from mod import f
                return f(x)
            """,
        },
        edit=("a1.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: registry filled by decorator",
        {
            "mod.py": """
            REG = {}
            def reg(f):
                REG[f.__name__] = f
                return f
            @reg
            def g(x):
                return x + 1
            def f(x):
                return REG['g'](x)
            """,
            "main.py": """
            def entry(x):
                from mod import f
                return f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy: statement that mutates by call",
        {
            "mod.py": """
            L = []
            L.append(1)
            def f(x):
                return x + L[0]
            """,
            "main.py": """
            def entry(x):
                from mod import f
                return f(x)
            """,
        },
        edit=("mod.py", "append(1)", "append(2)"),
    ),
    Case(
        "lazy: base class in other module",
        {
            "b.py": """
            class B:
                def g(self, x):
                    return x + 1
            """,
            "mod.py": """
            from b import B
            class C(B):
                pass
            """,
            "main.py": """
            def entry(x):
                from mod import C
                return C().g(x)
            """,
        },
        edit=("b.py", "x + 1", "x + 2"),
    ),
    Case(
        "lazy in a module reached lazily",
        {
            "b.py": """
            def g(x):
                return x + 1
            """,
            "mod.py": """
            def f(x):
                from b import g
                return g(x)
            """,
            "main.py": """
            def entry(x):
                from mod import f
                return f(x)
            """,
        },
        edit=("b.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: import_module(GLOBAL)",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import importlib
            PLUGIN = 'mod'
            def entry(x):
                return importlib.import_module(PLUGIN).f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: import_module(default)",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import importlib
            def entry(x, name='mod'):
                return importlib.import_module(name).f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: import_module(f-string)",
        {
            "plug/__init__.py": """

            """,
            "plug/mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import importlib
            def entry(x):
                kind='mod'
                return importlib.import_module(f'plug.{kind}').f(x)
            """,
        },
        edit=("plug/mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: helper import_string",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "util.py": """
            import importlib
            def load(path):
                m, _, n = path.rpartition('.')
                return getattr(importlib.import_module(m), n)
            """,
            "main.py": """
            from util import load
            def entry(x):
                return load('mod.f')(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: table of names",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import importlib
            T = {'a': 'mod'}
            def entry(x):
                return importlib.import_module(T['a']).f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: pkgutil.resolve_name",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import pkgutil
            def entry(x):
                return pkgutil.resolve_name('mod:f')(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: from importlib import import_module in fn",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            def entry(x):
                from importlib import import_module
                return import_module('mod').f(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: import_module('mod.f'.rpartition)",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import importlib
            def entry(x):
                m, _, n = 'mod.f'.rpartition('.')
                return getattr(importlib.import_module(m), n)(x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "dynamic: runpy.run_path",
        {
            "mod.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import runpy
            from pathlib import Path
            def entry(x):
                return runpy.run_path(str(Path(__file__).parent/'mod.py'))['f'](x)
            """,
        },
        edit=("mod.py", "x + 1", "x + 2"),
    ),
    Case(
        "globals()[name]",
        {
            "main.py": """
            def helper(x):
                return x + 1
            def entry(x):
                return globals()['helper'](x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "getattr(sys.modules[__name__], name)",
        {
            "main.py": """
            import sys
            def helper(x):
                return x + 1
            def entry(x):
                return getattr(sys.modules[__name__], 'helper')(x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "eval('helper(x)')",
        {
            "main.py": """
            def helper(x):
                return x + 1
            def entry(x):
                return eval('helper(x)')
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "getattr(pkg, 'sub')",
        {
            "pkg/__init__.py": """
            from . import a, b
            """,
            "pkg/a.py": """
            def f(x):
                return x + 1
            """,
            "pkg/b.py": """

            """,
            "main.py": """
            import pkg
            def entry(x):
                return getattr(pkg, 'a').f(x)
            """,
        },
        edit=("pkg/a.py", "x + 1", "x + 2"),
    ),
    Case(
        "pkg handed to a function",
        {
            "pkg/__init__.py": """
            from . import a
            """,
            "pkg/a.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import pkg
            def go(m, x):
                return m.a.f(x)
            def entry(x):
                return go(pkg, x)
            """,
        },
        edit=("pkg/a.py", "x + 1", "x + 2"),
    ),
    Case(
        "vars(pkg) loop",
        {
            "pkg/__init__.py": """
            from . import a
            """,
            "pkg/a.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import pkg
            MODS = [pkg]
            def entry(x):
                return [m.a.f(x) for m in MODS]
            """,
        },
        edit=("pkg/a.py", "x + 1", "x + 2"),
    ),
    Case(
        "local alias m = pkg; m.a.f",
        {
            "pkg/__init__.py": """
            from . import a
            """,
            "pkg/a.py": """
            def f(x):
                return x + 1
            """,
            "main.py": """
            import pkg
            def entry(x):
                m = pkg
                return m.a.f(x)
            """,
        },
        edit=("pkg/a.py", "x + 1", "x + 2"),
    ),
    Case(
        "__version__ from import",
        {
            "ver.py": """
            __version__ = '1'
            """,
            "main.py": """
            from ver import __version__
            def entry(x):
                return (x, __version__)
            """,
        },
        edit=("ver.py", "'1'", "'2'"),
    ),
    Case(
        "__version__ own",
        {
            "main.py": """
            __version__ = '1'
            def entry(x):
                return (x, __version__)
            """,
        },
        edit=("main.py", "'1'", "'2'"),
    ),
    Case(
        "__all__ loop",
        {
            "main.py": """
            __all__ = ['a']
            def entry(x):
                return (x, list(__all__))
            """,
        },
        edit=("main.py", "['a']", "['a', 'b']"),
    ),
    Case(
        "docstring read",
        {
            "main.py": """
            def prompt():
                'hello'
            def entry(x):
                return prompt.__doc__
            """,
        },
        edit=("main.py", "hello", "bye"),
    ),
    Case(
        "class docstring read",
        {
            "main.py": "class Prompt:\n    '''hello'''\ndef entry(x):\n    return Prompt.__doc__\n",
        },
        edit=("main.py", "hello", "bye"),
    ),
    Case(
        "validate_call annotation",
        {
            "main.py": """
            import pydantic
            @pydantic.validate_call
            def h(x: float):
                return repr(x)
            def entry(x):
                return h(x)
            """,
        },
        edit=("main.py", "x: float", "x: int"),
    ),
    Case(
        "validate_call config",
        {
            "main.py": """
            import pydantic
            @pydantic.validate_call(config=dict(str_to_lower=True))
            def h(x: str):
                return x
            def entry(x):
                return h('A')
            """,
        },
        edit=("main.py", "=True", "=False"),
    ),
    Case(
        "validate_call Annotated Field",
        {
            "main.py": """
            import pydantic
            from typing import Annotated
            @pydantic.validate_call
            def h(x: Annotated[int, pydantic.BeforeValidator(lambda v: v + 1)]):
                return x
            def entry(x):
                return h(x)
            """,
        },
        edit=("main.py", "v + 1", "v + 2"),
    ),
    Case(
        "nested flow annotation (validated)",
        {
            "main.py": """
            from prefect import flow
            @flow
            def sub(x: float):
                return repr(x)
            def entry(x):
                return sub(x)
            """,
        },
        edit=("main.py", "x: float", "x: int"),
    ),
    Case(
        "get_type_hints",
        {
            "main.py": """
            import typing
            def h(x: int): ...
            def entry(x):
                return str(typing.get_type_hints(h))
            """,
        },
        edit=("main.py", "x: int", "x: str"),
    ),
    Case(
        "singledispatch annotation",
        {
            "main.py": """
            import functools
            @functools.singledispatch
            def h(x):
                return 'o'
            @h.register
            def _(x: int):
                return 'i'
            def entry(x):
                return h(x)
            """,
        },
        edit=("main.py", "x: int", "x: str"),
    ),
    Case(
        "singledispatchmethod",
        {
            "main.py": """
            import functools
            class A:
                @functools.singledispatchmethod
                def h(self, x):
                    return 'o'
                @h.register
                def _(self, x: int):
                    return 'i'
            def entry(x):
                return A().h(x)
            """,
        },
        edit=("main.py", "return 'i'", "return 'j'"),
    ),
    Case(
        "singledispatchmethod annotation",
        {
            "main.py": """
            import functools
            class A:
                @functools.singledispatchmethod
                def h(self, x):
                    return 'o'
                @h.register
                def _(self, x: int):
                    return 'i'
            def entry(x):
                return A().h(x)
            """,
        },
        edit=("main.py", "x: int", "x: str"),
    ),
    Case(
        "np.frompyfunc",
        {
            "main.py": """
            import numpy as np
            def h(x):
                return x + 1
            U = np.frompyfunc(h, 1, 1)
            def entry(x):
                return U(x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "np.vectorize",
        {
            "main.py": """
            import numpy as np
            def h(x):
                return x + 1
            U = np.vectorize(h)
            def entry(x):
                return int(U(x))
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "np.vectorize decorator",
        {
            "main.py": """
            import numpy as np
            @np.vectorize
            def h(x):
                return x + 1
            def entry(x):
                return int(h(x))
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "dict keys view",
        {
            "main.py": """
            C = {'a': 1}
            K = C.keys()
            def entry(x):
                return list(K)
            """,
        },
        edit=("main.py", "'a'", "'b'"),
    ),
    Case(
        "dict items view",
        {
            "main.py": """
            C = {'a': 1}
            K = C.items()
            def entry(x):
                return list(K)
            """,
        },
        edit=("main.py", "'a': 1", "'a': 2"),
    ),
    Case(
        "dict values view of functions",
        {
            "main.py": """
            def h(x):
                return x + 1
            K = {'a': h}.values()
            def entry(x):
                return [f(x) for f in K]
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "threading.local",
        {
            "main.py": """
            import threading
            L = threading.local()
            L.rate = 1
            def entry(x):
                return L.rate
            """,
        },
        edit=("main.py", "rate = 1", "rate = 2"),
    ),
    Case(
        "weakref.ref",
        {
            "main.py": """
            import weakref
            def h(x):
                return x + 1
            R = weakref.ref(h)
            def entry(x):
                return R()(x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "WeakValueDictionary",
        {
            "main.py": """
            import weakref
            def h(x):
                return x + 1
            R = weakref.WeakValueDictionary(h=h)
            def entry(x):
                return R['h'](x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "re.Match global",
        {
            "main.py": """
            import re
            M = re.match('(.)', 'a')
            def entry(x):
                return M.group(1)
            """,
        },
        edit=("main.py", "'a'", "'b'"),
    ),
    Case(
        "object with __reduce__ that raises",
        {
            "main.py": """
            class C:
                def __init__(self, r):
                    self.r = r
                def __reduce__(self):
                    raise TypeError('no')
            O = C(1)
            def entry(x):
                return O.r
            """,
        },
        edit=("main.py", "C(1)", "C(2)"),
    ),
    Case(
        "object with a getstate that raises",
        {
            "main.py": """
            class C:
                def __init__(self, r):
                    self.r = r
                def __getstate__(self):
                    raise TypeError('no')
            O = C(1)
            def entry(x):
                return O.r
            """,
        },
        edit=("main.py", "C(1)", "C(2)"),
    ),
    Case(
        "zip list",
        {
            "main.py": """
            M = zip([1], [2])
            def entry(x):
                return list(M)
            """,
        },
        edit=("main.py", "[2]", "[3]"),
    ),
    Case(
        "itertools.cycle",
        {
            "main.py": """
            import itertools
            M = itertools.cycle([1])
            def entry(x):
                return next(M)
            """,
        },
        edit=("main.py", "[1]", "[3]"),
    ),
    Case(
        "iter over list",
        {
            "main.py": """
            M = iter([1])
            def entry(x):
                return next(M)
            """,
        },
        edit=("main.py", "[1]", "[3]"),
    ),
    Case(
        "NamedTuple holding a class",
        {
            "main.py": """
            from typing import NamedTuple
            class Model:
                def f(self, x):
                    return x + 1
            class Spec(NamedTuple):
                model: type
                rate: float
            S = Spec(Model, 0.1)
            def entry(x):
                return S.model().f(x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "defaultdict subclass",
        {
            "main.py": """
            from collections import defaultdict
            class Model:
                def __init__(self):
                    self.v = 1
            class D(defaultdict):
                pass
            S = D(Model)
            def entry(x):
                S.clear()
                return S['k'].v
            """,
        },
        edit=("main.py", "self.v = 1", "self.v = 2"),
    ),
    Case(
        "exception holding class",
        {
            "main.py": """
            class Model:
                v = 1
            E = ValueError(Model)
            def entry(x):
                return E.args[0].v
            """,
        },
        edit=("main.py", "v = 1", "v = 2"),
    ),
    Case(
        "partial subclass",
        {
            "main.py": """
            import functools
            class P(functools.partial):
                pass
            class Model:
                v = 1
            def h(m):
                return m.v
            S = P(h, Model)
            def entry(x):
                return S()
            """,
        },
        edit=("main.py", "v = 1", "v = 2"),
    ),
    Case(
        "slots frozen dataclass holding class",
        {
            "main.py": """
            import dataclasses
            class Model:
                v = 1
            @dataclasses.dataclass(frozen=True, slots=True)
            class S:
                m: type
            O = S(Model)
            def entry(x):
                return O.m.v
            """,
        },
        edit=("main.py", "v = 1", "v = 2"),
    ),
    Case(
        "setattr dunder on a class at import",
        {
            "main.py": """
            class A:
                pass
            A.__rate__ = 1
            def entry(x):
                return A.__rate__
            """,
        },
        edit=("main.py", "__rate__ = 1", "__rate__ = 2"),
    ),
    Case(
        "pydantic string annotation",
        {
            "val.py": """
            def up(v):
                return v + 1
            """,
            "main.py": """
            import pydantic
            from typing import Annotated
            from val import up
            Up = Annotated[int, pydantic.AfterValidator(up)]
            class M(pydantic.BaseModel):
                v: 'Up'
            def entry(x):
                return M(v=x).v
            """,
        },
        edit=("val.py", "v + 1", "v + 2"),
    ),
    Case(
        "module __getattr__",
        {
            "mod.py": """
            def __getattr__(n):
                return 1
            """,
            "main.py": """
            import mod
            def entry(x):
                return mod.foo
            """,
        },
        edit=("mod.py", "return 1", "return 2"),
    ),
    Case(
        "from import via module __getattr__",
        {
            "impl.py": """
            def foo(x):
                return x + 1
            """,
            "mod.py": """
            def __getattr__(n):
                import impl
                return getattr(impl, n)
            """,
            "main.py": """
            def entry(x):
                from mod import foo
                return foo(x)
            """,
        },
        edit=("impl.py", "x + 1", "x + 2"),
    ),
    Case(
        "create_model",
        {
            "main.py": """
            import pydantic
            M = pydantic.create_model('M', v=(int, 1))
            def entry(x):
                return M().v
            """,
        },
        edit=("main.py", "1))", "2))"),
    ),
    Case(
        "type() made class",
        {
            "main.py": """
            M = type('M', (), {'v': 1, 'f': lambda s, x: x + 1})
            def entry(x):
                return M().f(x)
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "singleton by name",
        {
            "main.py": """
            class C:
                def __reduce__(self):
                    return 'O'
            O = C()
            O.v = 1
            def entry(x):
                return O.v
            """,
        },
        edit=("main.py", "O.v = 1", "O.v = 2"),
    ),
    Case(
        "StringIO global",
        {
            "main.py": """
            import io
            O = io.StringIO('a')
            def entry(x):
                return O.getvalue()
            """,
        },
        edit=("main.py", "'a'", "'b'"),
    ),
    Case(
        "function attribute",
        {
            "main.py": """
            def h(x):
                return x + h.k
            h.k = 1
            def entry(x):
                return h(x)
            """,
        },
        edit=("main.py", "h.k = 1", "h.k = 2"),
    ),
    Case(
        "function attribute via getattr",
        {
            "main.py": """
            def h(x):
                return x
            h.k = 1
            def entry(x):
                return getattr(h, 'k')
            """,
        },
        edit=("main.py", "h.k = 1", "h.k = 2"),
    ),
    Case(
        "function attribute through list",
        {
            "main.py": """
            def h(x):
                return x
            h.weight = 1
            L = [h]
            def entry(x):
                return [f(x) * f.weight for f in L]
            """,
        },
        edit=("main.py", "weight = 1", "weight = 2"),
    ),
    Case(
        "function attribute set by decorator through dict",
        {
            "main.py": """
            def w(n):
                def d(f):
                    f.weight = n
                    return f
                return d
            @w(1)
            def h(x):
                return x
            L = {'h': h}
            def entry(x):
                return [f(x) * f.weight for f in L.values()]
            """,
        },
        edit=("main.py", "@w(1)", "@w(2)"),
    ),
    Case(
        "method attribute set by decorator",
        {
            "main.py": """
            def w(n):
                def d(f):
                    f.weight = n
                    return f
                return d
            class A:
                @w(1)
                def h(self, x):
                    return x
            def entry(x):
                a = A()
                return a.h(x) * a.h.weight
            """,
        },
        edit=("main.py", "@w(1)", "@w(2)"),
    ),
    Case(
        "function attribute of imported via local alias",
        {
            "main.py": """
            def h(x):
                return x
            h.k = 1
            def entry(x):
                f = h
                return f.k
            """,
        },
        edit=("main.py", "h.k = 1", "h.k = 2"),
    ),
    Case(
        "jinja-like exec of a constant",
        {
            "main.py": """
            SRC = 'y = x + 1'
            def entry(x):
                ns = {'x': x}
                exec(SRC, ns)
                return ns['y']
            """,
        },
        edit=("main.py", "x + 1", "x + 2"),
    ),
    Case(
        "global flag via global stmt",
        {
            "main.py": """
            K = 0
            def setup():
                global K
                K = 1
            def entry(x):
                setup()
                return K
            """,
        },
        edit=("main.py", "K = 1", "K = 2"),
    ),
]

# Each project in a process of its own, forked from one that has imported what is large.
RUN = """
import importlib
import json
import os
import sys

import numpy
import prefect
import pydantic
from expops_prefect.fingerprint.code import code_fingerprint

for root in json.loads(sys.stdin.read()):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        sys.path.insert(0, root)
        os.chdir(root)
        entry = importlib.import_module("main").entry
        digest = code_fingerprint(entry).digest
        flows = "prefect" in open("main.py").read()  # these need a server
        found = [digest, "" if flows else repr(entry(1))]
        with os.fdopen(write, "w") as out:
            out.write(json.dumps(found))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as found:
        print(found.read(), flush=True)
    os.waitpid(child, 0)
"""


def fingerprinted(roots: list[Path], seed: int) -> list[tuple[str, str]]:
    """The fingerprint of each project's entry, and what it returns."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([str(root) for root in roots]),
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(roots), done.stderr
    assert all(lines), done.stderr
    return [(digest, result) for digest, result in map(json.loads, lines)]


Found = tuple[tuple[str, str], tuple[str, str], str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """By case: the fingerprint and result before and after the edit, and the former in a second process."""
    folder = tmp_path_factory.mktemp("projects")
    plain = [case.write(folder / f"{number}", edited=False) for number, case in enumerate(CASES)]
    edited = [case.write(folder / f"{number}-edited", edited=True) for number, case in enumerate(CASES)]
    first, second = fingerprinted([*plain, *edited], 1), fingerprinted(plain, 2)
    rows = zip(CASES, first[: len(CASES)], first[len(CASES) :], second, strict=True)
    return {case.name: (before, after, again) for case, before, after, (again, _) in rows}


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_an_edit_that_changes_the_result_changes_the_fingerprint(found: dict[str, Found], name: str) -> None:
    (digest, result), (edited, edited_result), again = found[name]
    assert result != edited_result or not result, "the edit is one that counts"
    assert digest != edited
    assert digest == again
