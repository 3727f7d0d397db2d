"""Run all flows, one after the other, and write down what came of each."""

import importlib
import json
import operator
import sys
import traceback
from pathlib import Path

from prefect import tags


def main(target, form, tag, entries):
    found = {}
    for kind, entry in entries.items():
        try:
            if form == "instrument" and entry:
                from expops_prefect import instrument

                name, _, path = entry.partition(":")
                owner, _, attribute = path.rpartition(".")
                module = importlib.import_module(name)
                instrument(vars(operator.attrgetter(owner)(module) if owner else module)[attribute])
            with tags(tag, f"{tag}-{kind}"):
                found[kind] = json.loads(json.dumps(importlib.import_module(kind).main(), default=str))
        except BaseException as error:
            traceback.print_exc()
            found[kind] = f"{type(error).__name__}: {error}"
    Path(target).write_text(json.dumps(found))


main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
