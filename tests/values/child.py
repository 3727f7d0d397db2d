"""Fingerprints of all rows of one module, as JSON: run in a process of its own.

    python -m tests.values.child MODULE [FOLDER]

The folder holds what the rows read.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

from expops_prefect.cache import result_forms
from expops_prefect.errors import FingerprintError, ResultNotStorableError
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.value_summary import summary_of
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.serialization.manifest import pack, unpack


def digest(value: Any) -> str:
    """The fingerprint, or what the refusal says; a summary is made as well."""
    notes: list[Any] = []
    try:
        made = fingerprint(value, name="parameter", notes=notes)
    except FingerprintError as error:
        return f"refused: {error}"
    except BaseException as error:
        return f"raised: {error!r} {traceback.format_exc()[-600:]}"
    summary_of(made, value, notes)
    return made


def loaded(value: Any) -> str:
    """The fingerprint after a way through a store, as the keys of the tasks have it that take what is loaded."""
    try:
        packed = pack(value)
    except ResultNotStorableError:
        return "not storable"
    _, stands = result_forms.describe(value, packed, Path("/nowhere"))
    again = unpack(packed.manifest, result_forms.Held(packed, Path("/nowhere")))
    if stands:
        result_forms.remember(again, stands, Path("/nowhere"))
    return digest(again)


def main(module: str) -> dict[str, Any]:
    """By kind of row: digests."""
    rows = importlib.import_module(f"tests.values.{module}")
    found: dict[str, Any] = {"different": {}, "alike": {}, "refused": {}, "constants": {}, "loaded": {}, "changed": {}}
    write = getattr(rows, "write", None)
    if write is not None:
        os.chdir(sys.argv[2])
    for kind, table in (("different", rows.DIFFERENT), ("alike", rows.ALIKE)):
        for name, make in table.items():
            values = make()
            found[kind][name] = [digest(value) for value in values]
            found["loaded"][f"{kind} {name}"] = [loaded(value) for value in values]
    for name, make in rows.REFUSED.items():
        found["refused"][name] = digest(make())
    for name, make in getattr(rows, "CONSTANTS", {}).items():
        found["constants"][name] = [constant_form(value).hex() for value in make()]
    if write is not None:
        found["changed"] = changed(rows)
    return found


def changed(rows: Any) -> dict[str, list[str]]:
    """Fingerprints of plans before and after their files have changed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rows.write()
        plans = {name: make() for name, make in rows.PLANS.items()}
        before = {name: digest(plan) for name, plan in plans.items()}
        rows.write(rows.OTHER)
        after = {name: digest(plan) for name, plan in plans.items()}
        os.chdir("/")
    return {name: [before[name], after[name]] for name in plans}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("\n" + json.dumps(main(sys.argv[1])))
