# ruff: noqa: E501
"""Clocks and the like that code only holds: in fields, defaults, containers, closures. Somebody calls them."""

from __future__ import annotations

from typing import Final

HELD: Final = [
    ("clock", "Report.at",
     "from dataclasses import dataclass, field\nfrom datetime import datetime\n@dataclass\nclass Report:\n n: int\n"
     " at: datetime = field(default_factory=datetime.now)\ndef task(x):\n return Report(x)"),
    ("clock", "Report.at",
     "from dataclasses import dataclass, field\n@dataclass\nclass Report:\n at: float = field(default_factory=time.time)\n"
     "def task(x):\n return Report().at"),
    ("clock", "Sum.at",
     "from dataclasses import dataclass, field\n@dataclass\nclass Base:\n at: float = field(default_factory=time.time)\n"
     "@dataclass\nclass Sum(Base):\n n: int = 1\ndef task(x):\n return Sum(n=x)"),
    ("clock", "Report.at",
     "import pydantic\nclass Report(pydantic.BaseModel):\n at: float = pydantic.Field(default_factory=time.time)\n"
     "def task(x):\n return Report.model_validate({})"),
    ("random", "Report.key",
     "import attrs, uuid\n@attrs.define\nclass Report:\n key: object = attrs.Factory(uuid.uuid4)\n"
     "def task(x):\n return Report()"),
    ("clock", "datetime.now",
     "from datetime import datetime\ndef stamp(clock=datetime.now):\n return clock()\ndef task(x):\n return stamp()"),
    ("clock", "time.time", "def task(x, *, clock=time.time):\n return clock()"),
    ("clock", "self.clock",
     "from datetime import datetime\nclass Clocked:\n clock = datetime.now\n def at(self):\n  return self.clock()\n"
     "def task(x):\n return Clocked().at()"),
    ("clock", "datetime.datetime.now",
     "from datetime import datetime\nclass Clocked:\n def __init__(self, clock):\n  self.clock = clock\n"
     " def at(self):\n  return self.clock()\nCLOCKED = Clocked(datetime.now)\ndef task(x):\n return CLOCKED.at()"),
    ("clock", "CLOCKS[…]", "from datetime import datetime\nCLOCKS = [datetime.now]\ndef task(x):\n return CLOCKS[0]()"),
    ("clock", "clock",
     "from datetime import datetime\ndef made(clock):\n def task(x):\n  return clock()\n return task\n"
     "task = made(datetime.now)"),
    ("clock", "time.time",
     "import functools\ndef stamp(clock, x):\n return clock(), x\nSTAMP = functools.partial(stamp, time.time)\n"
     "def task(x):\n return STAMP(x)"),
    ("random", "uuid.uuid4",
     "import collections, uuid\nKEYS = collections.defaultdict(uuid.uuid4)\ndef task(x):\n return KEYS[x]"),
    ("state", "PICK", "RNG = random.Random(3)\nPICK = RNG.choice\ndef task(x):\n return PICK(x)"),
    ("clock", "time.time",
     "class Clock:\n def __call__(self):\n  return time.time()\nCLOCK = Clock()\ndef task(x):\n return CLOCK()"),
    ("clock", "time.time",
     "class Clock:\n def __enter__(self):\n  return time.time()\n def __exit__(self, *_):\n  pass\nCLOCK = Clock()\n"
     "def task(x):\n with CLOCK as now:\n  return now"),
    ("state", "self.n += …",
     "class Count:\n n = 0\n def __call__(self):\n  self.n += 1\n  return self.n\nCOUNT = Count()\ndef task(x):\n return COUNT()"),
]  # fmt: skip
