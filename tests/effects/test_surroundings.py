"""What computing depends on without asking, and what a body leaves behind in its process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

IMPORTS: Final = """
import abc, calendar, csv, decimal, faulthandler, gc, io, json, locale, logging, os, sys, threading, time, tracemalloc
import mimetypes
import matplotlib
matplotlib.use("Agg")
import numpy as np, pandas as pd, polars as pl, sklearn
from matplotlib import pyplot as plt
from expops_prefect.effects import ambient, surroundings
"""

DEPENDED_ON: Final = [
    ("decimal's context", "decimal.getcontext().prec = 5", "decimal.getcontext().prec = 28"),
    ("decimal's context", "decimal.getcontext().rounding = 'ROUND_UP'", ""),
    ("decimal's context", "decimal.getcontext().traps[decimal.Inexact] = True", ""),
    ("the time zone", "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()", ""),
    ("sys.set_int_max_str_digits", "sys.set_int_max_str_digits(9999)", "sys.set_int_max_str_digits(4300)"),
    ("calendar.setfirstweekday", "calendar.setfirstweekday(6)", "calendar.setfirstweekday(0)"),
    ("csv's dialects", "csv.register_dialect('x', delimiter=';')", "csv.unregister_dialect('x')"),
    ("mimetypes' tables", "mimetypes.add_type('a/b', '.ab')", "mimetypes.init()"),
    ("mimetypes' tables", "mimetypes.add_type('a/b', '.ab', False)", "mimetypes.init()"),
    ("mimetypes' tables", "mimetypes.init(); mimetypes.types_map['.csv'] = 'a/b'", "mimetypes.init()"),
    ("mimetypes' tables", "mimetypes._types_map_default['.csv'] = 'a/b'", ""),
    ("mimetypes' tables", "mimetypes.guess_type('x.y'); del mimetypes.types_map['.csv']", "mimetypes.init()"),
    ("mimetypes' tables", "mimetypes.knownfiles.append('own')", "mimetypes.knownfiles.pop()"),
    ("numpy's print options", "np.set_printoptions(precision=2)", "np.set_printoptions(precision=8)"),
    ("numpy's handling of errors", "np.seterr(divide='raise')", "np.seterr(divide='warn')"),
    ("pandas' options", "pd.set_option('display.max_rows', 4)", "pd.reset_option('display.max_rows')"),
    ("pandas' options", "pd.options.display.precision = 2", "pd.options.display.precision = 6"),
    ("matplotlib's rcParams", "plt.rc('lines', linewidth=9)", "matplotlib.rcdefaults()"),
    ("matplotlib's rcParams", "plt.style.use('ggplot')", ""),
    ("scikit-learn's configuration", "sklearn.set_config(transform_output='pandas')", ""),
    ("polars' configuration", "pl.Config.set_tbl_rows(2)", "pl.Config.set_tbl_rows(None)"),
    ("polars' configuration", "pl.Config.set_float_precision(2)", "pl.Config.set_float_precision(None)"),
]

LEFT_BEHIND: Final = [
    ("sys.path", "sys.path.append('/there')"),
    ("sys.setrecursionlimit", "sys.setrecursionlimit(2000)"),
    ("logging's set-up", "logging.basicConfig(level=5, force=True)"),
    ("logging's set-up", "logging.root.setLevel(7)"),
    ("logging's set-up", "logging.root.addHandler(logging.NullHandler())"),
    ("logging's set-up", "logging.disable(5)"),
    ("logging's set-up", "logging.addLevelName(77, 'X')"),
    ("logging's set-up", "logging.captureWarnings(True)"),
    ("sys's hooks and streams", "sys.excepthook = print"),
    ("sys's hooks and streams", "threading.excepthook = print"),
    ("sys's hooks and streams", "sys.stdin = io.StringIO()"),
    ("gc's settings", "gc.disable()"),
    ("gc's settings", "gc.set_threshold(5)"),
    ("tracemalloc or faulthandler", "tracemalloc.start()"),
    ("tracemalloc or faulthandler", "faulthandler.enable()"),
    ("threading's settings", "sys.setswitchinterval(0.01)"),
    ("threading's settings", "threading.stack_size(1 << 20)"),
    ("abc.ABCMeta.register", "json.JSONEncoder; abc.ABC.register(json.JSONEncoder)"),
    ("matplotlib.use", "matplotlib.use('svg')"),
    ("a figure that it leaves open", "plt.figure()"),
]
NOTHING: Final = [
    "1 + 1",
    "logging.basicConfig(level=5)",  # there are handlers already
    "logging.getLogger('there').warning('x')",
    "gc.disable(); gc.enable()",
    "tracemalloc.start(); tracemalloc.stop()",
    "plt.figure(); plt.plot([1]); plt.close()",
    "matplotlib.use('agg')",
    "import colorsys, tabnanny",
    "mimetypes.guess_type('x.csv')",
    "mimetypes.init()",
    "with decimal.localcontext() as c: c.prec = 3",
    "with pd.option_context('display.max_rows', 3): pass",
    "with np.printoptions(precision=1): pass",
    "with pl.Config(tbl_rows=3): pass",
]


PROGRAM: Final = """
told = []
for snippet in SNIPPETS:
    read, write = os.pipe()
    if not os.fork():
        said = sys.__stdout__ = sys.stdout = open(write, "w")
        space = dict(globals())
        try:
            exec(snippet, space)
            found = space["found"]
        except BaseException as error:
            found = repr(error)
        said.write(json.dumps(found))
        said.flush()
        os._exit(0)
    os.close(write)
    told.append(json.loads(open(read).read()))
print(json.dumps(told))
"""


def _told(*snippets: str) -> list[Any]:
    """What each of these finds in a process of its own, which has all the libraries but has changed nothing yet."""
    program = f"{IMPORTS}\nSNIPPETS = {list(snippets)!r}\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_somebody_has_changed_counts_until_it_is_changed_back() -> None:
    programs = [
        f"b = surroundings.snapshot()\n{change}\nfirst = list(ambient.changed())\nleft = surroundings.changed(b, 1)\n"
        f"{back}\nfound = first, left, list(ambient.changed())"
        for _, change, back in DEPENDED_ON
    ]
    wrong = [
        (change, back, found)
        for (name, change, back), found in zip(DEPENDED_ON, _told(*programs), strict=True)
        if found != [[name], [name], [] if back else [name]]
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_nothing_counts_that_nobody_has_changed_and_another_value_is_another_state() -> None:
    setting = "np.set_printoptions(precision={})\nfound = ambient.changed()"
    nothing, two, three = _told("found = ambient.changed()", setting.format(2), setting.format(3))
    assert nothing == {}
    assert two != three


def test_what_bodies_leave_behind() -> None:
    start = "logging.root.addHandler(logging.StreamHandler(io.StringIO()))\nb = surroundings.snapshot()"
    bodies = [*LEFT_BEHIND, *(("", body) for body in NOTHING)]
    told = _told(*(f"{start}\n{body}\nfound = surroundings.changed(b, 1)" for _, body in bodies))
    wrong = [
        (*case, found) for case, found in zip(bodies, told, strict=True) if found != [name for name in case[:1] if name]
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_a_figure_that_is_given_back_is_not_left_behind() -> None:
    start = "old = plt.figure()\nb = surroundings.snapshot()\nnew = plt.figure()\nfound = surroundings.changed(b, {})"
    results = ("new", "[new]", "{'figure': new}", "old", "None")
    left = "a figure that it leaves open"
    before = "a figure that was open before"
    assert _told(*map(start.format, results)) == [[], [], [], [left, before], [left]]


def test_a_figure_that_is_loaded_to_be_looked_at_is_none_of_pyplots() -> None:
    program = """
import pickle
from expops_prefect._internal.figures import undisturbed
first, second = plt.figure(), plt.figure()
data = pickle.dumps({"figure": [second]})
plt.figure(1)
with undisturbed() as loaded:
    loaded.append(pickle.loads(data))
    during = plt.get_fignums(), plt.gcf().number
found = [*during, plt.get_fignums(), plt.gcf() is first]
with undisturbed() as loaded:
    loaded.append(pickle.loads(data))
    other = plt.figure()  # of another thread
found += plt.get_fignums(), plt.gcf() is other
"""
    assert _told(program) == [[[1, 2, 3], 3, [1, 2], True, [1, 2, 4], True]]
