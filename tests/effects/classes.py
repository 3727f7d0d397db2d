# ruff: noqa: E501
"""What it does to make objects and classes, and to touch them: what is left behind, and what is not."""

from __future__ import annotations

from typing import Final

HEAD: Final = """
import dataclasses, functools, itertools, json, types, enum, abc, collections, operator
from typing import Annotated, Any, NamedTuple
import attrs, pydantic
LOG, IDS = [], itertools.count()
def told(*args, **kwargs):
    LOG.append(args)
    return 1
class Encoder(json.JSONEncoder):
    def default(self, value):
        LOG.append(value)
        return 1
"""

LEFT_BEHIND: Final = [
    # An object that everybody has, and what all objects of a class share.
    ("cls.one = …", "class A:\n one = None\n def __new__(cls):\n  if cls.one is None:\n   cls.one = super().__new__(cls)\n  return cls.one", "A()"),
    ("cls.one.kept.update", "class A:\n one = None\n def __new__(cls, **k):\n  cls.one.kept.update(k)\n  return cls.one", "A(a=x)"),
    ("A.one.rows.append", "class A:\n one = None", "0\n A.one.rows.append(x)"),
    ("cls.made[…] = …", "class M(type):\n made = {}\n def __call__(cls, *a):\n  if cls not in cls.made:\n   cls.made[cls] = super().__call__(*a)\n  return cls.made[cls]\nclass A(metaclass=M):\n pass", "A()"),
    ("self.__dict__ = …", "class A:\n kept = {}\n def __init__(self):\n  self.__dict__ = self.kept", "setattr(A(), 'a', x)"),
    ("type().n += …", "class A:\n n = 0\n def __init__(self):\n  type(self).n += 1", "A()"),
    ("self.__class__.n += …", "class A:\n n = 0\n def __init__(self):\n  self.__class__.n += 1\nclass B(A):\n pass", "B()"),
    ("setattr", "class A:\n n = 0\n def go(self):\n  setattr(type(self), 'n', self.n + 1)", "A().go()"),
    ("type().all.append", "class A:\n all = []\n def __init__(self):\n  type(self).all.append(1)", "A()"),
    ("type().n = …", "class A:\n n = 0", "setattr_of(x)\ndef setattr_of(a):\n type(a).n = 1"),
    ("A.register", "class A(abc.ABC):\n pass\nclass B:\n pass", "A.register(B)"),
    ("told_apart.register", "@functools.singledispatch\ndef told_apart(x):\n return 0", "told_apart.register(int)(abs)"),
    ("told_apart.register", "@functools.singledispatch\ndef told_apart(x):\n return 0", "0\n @told_apart.register\n def _(x: int):\n  return 1"),
    ("HANDLERS.append", "HANDLERS = []", "0\n @HANDLERS.append\n def _(x: int):\n  return 1"),
    ("self.rows.append", "class A:\n def __init__(self):\n  self.rows = LOG\n def add(self, n):\n  self.rows.append(n)", "A().add(x)"),
    # Factories of fields.
    ("A.n", "@dataclasses.dataclass\nclass A:\n n: int = dataclasses.field(default_factory=itertools.count().__next__)", "A()"),
    ("LOG.append", "@dataclasses.dataclass\nclass A:\n n: int = dataclasses.field(default_factory=lambda: LOG.append(1))", "A()"),
    ("A.n", "@dataclasses.dataclass\nclass A:\n n: int = dataclasses.field(default_factory=IDS.__next__)", "A()"),
    ("LOG.append", "@attrs.define\nclass A:\n n: int = attrs.field(factory=told)", "A()"),
    ("LOG.append", "@attrs.define\nclass A:\n n: int = attrs.field()\n @n.validator\n def checked(self, attribute, value):\n  LOG.append(value)", "A(x)"),
    # Hooks of pydantic.
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.field_validator('n')\n @classmethod\n def checked(cls, v):\n  LOG.append(v)\n  return v", "A(n=x)"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.model_validator(mode='before')\n @classmethod\n def checked(cls, v):\n  LOG.append(v)\n  return v", "A.model_validate({'n': x})"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.model_validator(mode='after')\n def checked(self):\n  LOG.append(1)\n  return self", "pydantic.TypeAdapter(list[A]).validate_python([{'n': x}])"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int = pydantic.Field(default_factory=lambda: told())", "A()"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: Annotated[int, pydantic.AfterValidator(lambda v: told(v))]", "A(n=x)"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.field_serializer('n')\n def text(self, v):\n  LOG.append(v)\n  return v", "A.model_construct(n=x).model_dump()"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.computed_field\n @property\n def m(self) -> int:\n  LOG.append(1)\n  return 1", "A(n=x).model_dump_json()"),
    ("LOG.append", "class A(pydantic.BaseModel):\n n: int\n @pydantic.field_validator('n')\n def checked(cls, v):\n  LOG.append(v)\n  return v\nclass B(pydantic.BaseModel):\n inner: list[A]", "B(inner=[{'n': x}])"),
    ("LOG.append", "class A(pydantic.BaseModel):\n _n: int = pydantic.PrivateAttr(default_factory=told)", "A()"),
    # Classes that are made.
    ("A.all.append", "class A:\n all = []\n def __init_subclass__(cls, **k):\n  A.all.append(cls)", "0\n class B(A):\n  pass"),
    ("cls.all.append", "class A:\n all = []\n def __init_subclass__(cls, **k):\n  super().__init_subclass__(**k)\n  cls.all.append(1)", "type('B', (A,), {})"),
    ("LOG.append", "class A:\n def __init_subclass__(cls, **k):\n  LOG.append(1)", "types.new_class('B', (A,))"),
    ("M.all[…] = …", "class M(type):\n all = {}\n def __init__(cls, n, b, d):\n  super().__init__(n, b, d)\n  M.all[n] = cls", "M('B', (), {})"),
    ("LOG.append", "class M(type):\n def __new__(m, n, b, d):\n  LOG.append(n)\n  return super().__new__(m, n, b, d)", "0\n class B(metaclass=M):\n  pass"),
    ("LOG.append", "class M(type):\n def __new__(m, n, b, d):\n  LOG.append(n)\n  return super().__new__(m, n, b, d)", "types.new_class('B', (), {'metaclass': M})"),
    ("cls.all.append", "class M(type):\n def __init__(cls, n, b, d):\n  cls.all.append(n)\nclass A(metaclass=M):\n all = []", "0\n class B(A):\n  pass"),
    ("LOG.append", "class D:\n def __set_name__(self, owner, name):\n  LOG.append(name)", "0\n class B:\n  a = D()"),
    ("LOG.append", "", "0\n class B:\n  LOG.append(1)"),
    ("LOG.append", "def kept(cls):\n LOG.append(cls)\n return cls", "0\n @kept\n class B:\n  pass"),
    # What setting an attribute runs.
    ("LOG.append", "class A:\n @property\n def v(self):\n  return 1\n @v.setter\n def v(self, v):\n  LOG.append(v)", "0\n a = A()\n a.v = x"),
    ("LOG.append", "class A:\n @property\n def v(self):\n  return 1\n @v.deleter\n def v(self):\n  LOG.append(1)\nKEPT = A()", "0\n del KEPT.v"),
    ("LOG.append", "class A:\n def __setattr__(self, name, value):\n  LOG.append(name)\nKEPT = A()", "0\n KEPT.v = x"),
    ("LOG.append", "class D:\n def __set__(self, a, v):\n  LOG.append(v)\nclass A:\n v = D()", "0\n a = A()\n a.v = x"),
    # Classes that are only known where they are used.
    ("LOG.append", "class A:\n def __init__(self):\n  self.ready()\nclass B(A):\n def ready(self):\n  LOG.append(1)\ndef made(cls):\n return cls()", "made(B)"),
    ("LOG.append", "class A:\n def draw(self):\n  pass\nclass B(A):\n def draw(self):\n  LOG.append(1)", "[c().draw() for c in A.__subclasses__()]"),
    ("LOG.append", "class A:\n def draw(self):\n  pass\nclass B(A):\n def draw(self):\n  LOG.append(1)\nALL = {'a': A, 'b': B}", "ALL[x]().draw()"),
    ("LOG.append", "class A:\n def draw(self):\n  pass\nclass B(A):\n def draw(self):\n  LOG.append(1)\nALL = [B]\ndef drawn(a: A):\n return a.draw()", "drawn(x), ALL"),
    ("LOG.append", "class A:\n def __init__(self, n):\n  LOG.append(n)", "list(map(A, [x]))"),
    ("LOG.append", "class A(Exception):\n def __init__(self):\n  LOG.append(1)", "0\n raise A"),
    # Calls that are not written.
    ("LOG.append", "", "json.dumps(x, cls=Encoder)"),
    ("LOG.append", "", "json.dumps(x, default=told)"),
    ("LOG.append", "", "eval('told(x)')"),
    ("LOG.append", "", "exec('for i in range(3):\\n told(i)')"),
    ("LOG.append", "class A:\n def keys(self):\n  LOG.append(1)\n  return 'a'\n def __getitem__(self, k):\n  return 1\nKEPT = A()", "{**KEPT}"),
    ("LOG.append", "class A:\n def keys(self):\n  LOG.append(1)\n  return 'a'\n def __getitem__(self, k):\n  return 1\nKEPT = A()", "dict(**KEPT)"),
    ("LOG.append", "class A:\n def keys(self):\n  LOG.append(1)\n  return 'a'\n def __getitem__(self, k):\n  return 1", "dict(A())"),
    ("LOG.append", "class A:\n def __class_getitem__(cls, k):\n  LOG.append(k)\n  return cls", "A[int]"),
    ("LOG.append", "class M(type):\n def __getitem__(cls, k):\n  LOG.append(k)\nclass A(metaclass=M):\n pass", "A[x]"),
    ("LOG.append", "class M(type):\n def __instancecheck__(cls, o):\n  LOG.append(o)\n  return True\nclass A(metaclass=M):\n pass", "isinstance(x, A)"),
    ("add", "add = LOG.append", "add(x)"),
]  # fmt: skip
"""The call that is told, what stands beside the task, and the expression that it returns."""

NOTHING_LEFT: Final = [
    ("class A:\n def __init__(self, n):\n  self.rows = []\n  self.rows.append(n)\n def add(self, n):\n  self.rows.append(n)\n  self.n = len(self.rows)\n  return self.n", "A(x).add(x)"),
    ("class A:\n def __new__(cls, n):\n  made = super().__new__(cls)\n  made.rows = []\n  made.rows.append(n)\n  return made", "A(x).rows"),
    ("class A(float):\n def __new__(cls, n, unit):\n  made = float.__new__(cls, n)\n  made.unit = unit\n  return made", "A(x, 'm').unit"),
    ("class A:\n def __init__(self, n):\n  self.n = n\n def twice(self):\n  return type(self)(self.n * 2)\n def name(self):\n  return type(self).__name__.lower() + self.__class__.__name__", "A(x).twice().name()"),
    ("class A:\n n = None\n def load(self):\n  if self.n is None:\n   self.n = []\n  self.n.append(1)\n  return self.n", "A().load()"),
    ("class A(dict):\n def __init__(self, *a, **k):\n  super().__init__(*a, **k)\n  self.__dict__ = self", "A(a=x).a"),
    ("class A:\n def __init__(self, **k):\n  self.__dict__.update(k)", "A(a=x).a"),
    ("@dataclasses.dataclass\nclass A:\n n: int\n rows: list = dataclasses.field(default_factory=list)\n def add(self, n):\n  self.rows.append(n)\n  return self", "A(x).add(x).rows"),
    ("@dataclasses.dataclass(frozen=True)\nclass A:\n n: int\n def __post_init__(self):\n  object.__setattr__(self, 'n', self.n + 1)", "A(x).n"),
    ("@dataclasses.dataclass\nclass A:\n n: int = dataclasses.field(default_factory=IDS.__next__)", "A(n=x)"),
    ("@attrs.define\nclass A:\n n: int = attrs.field(converter=int, validator=attrs.validators.ge(0))\n rows: list = attrs.field(factory=list)", "attrs.asdict(A(x))"),
    ("class A(pydantic.BaseModel):\n n: int = pydantic.Field(default=1, ge=0)\n rows: list[int] = pydantic.Field(default_factory=list)\n @pydantic.field_validator('n')\n @classmethod\n def positive(cls, v):\n  if v < 0:\n   raise ValueError('negative')\n  return v\n @pydantic.model_validator(mode='after')\n def whole(self):\n  self.rows.append(self.n)\n  return self\n @pydantic.computed_field\n @property\n def twice(self) -> int:\n  return self.n * 2", "A.model_validate({'n': x}).model_dump()"),
    ("class A(pydantic.BaseModel):\n n: int\nclass B(pydantic.BaseModel):\n inner: list[A]\n me: 'B | None' = None", "[a.model_dump() for a in B(inner=[A(n=x)]).inner]"),
    ("class A:\n def __init__(self, n):\n  self.rows, self.known = [n], LOG\n def add(self, n):\n  self.rows.append(n)\n  return len(self.known)", "A(x).add(x)"),
    ("class A(NamedTuple):\n n: int\n def twice(self):\n  return self._replace(n=self.n * 2)", "A(x).twice()"),
    ("class A(enum.Enum):\n ONE = 1\n TWO = 2\n @property\n def label(self):\n  return self.name.lower()", "[A(x).label, A['ONE'].label, [a.value for a in A]]"),
    ("", "0\n class B(NamedTuple):\n  n: int\n rows = [B(x)]\n rows.append(B(2))\n return rows"),
    ("", "0\n @dataclasses.dataclass\n class B:\n  n: int\n  rows: list = dataclasses.field(default_factory=list)\n  def add(self, n):\n   self.rows.append(n)\n   return self\n return B(x).add(1).rows"),
    ("", "0\n class B:\n  all = []\n  n = 0\n  def __init__(self):\n   self.all.append(1)\n   type(self).n += 1\n return B().n"),
    ("class A:\n def __init__(self, n):\n  self._n = n\n @property\n def n(self):\n  return self._n\n @n.setter\n def n(self, n):\n  self._n = max(n, 0)", "0\n a = A(x)\n a.n = 3\n return a.n"),
    ("class A:\n def __init_subclass__(cls, unit='m', **k):\n  super().__init_subclass__(**k)\n  cls.unit = unit", "0\n class B(A, unit='k'):\n  pass\n return B.unit"),
    ("class A(abc.ABC):\n @abc.abstractmethod\n def area(self):\n  raise NotImplementedError\nclass B(A):\n def __init__(self, n):\n  self.n = n\n def area(self):\n  return self.n ** 2\nALL = {'b': B}\ndef made(cls, *a):\n return cls(*a)", "[made(B, x).area(), ALL['b'](x).area(), [c(x).area() for c in A.__subclasses__()]]"),
    ("class Quiet(json.JSONEncoder):\n def default(self, value):\n  return str(value)", "json.dumps(x, cls=Quiet, default=str)"),
    ("class A(collections.UserDict):\n pass", "{**A(a=x), **dict(a=1)}"),
    ("class A:\n def __class_getitem__(cls, k):\n  return cls", "A[int]()"),
    ("class A:\n def __init__(self):\n  LOG.append(1)", "isinstance(x, A) or issubclass(type(x), (A, int))"),
    ("class A(Exception):\n def __init__(self, n):\n  super().__init__(f'no {n}')\n  self.n = n", "0\n try:\n  raise A(x)\n except A as error:\n  return error.n"),
    ("class M(type):\n def __new__(m, n, b, d):\n  made = super().__new__(m, n, b, d)\n  made.fields = sorted(d)\n  return made\nclass A(metaclass=M):\n def go(self):\n  return self.fields", "A().go()"),
]  # fmt: skip
