"""Files that lie about themselves, as far as the parsers: refused with our own error, within bounded memory.

A cached result never comes so far: its digest is compared first, see ``test_untrusted_objects``.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization import arrays, arrow
from expops_prefect.serialization.manifest import Packed, pack, unpack
from expops_prefect.serialization.payloads import Payload, payload
from tests.security.test_untrusted_objects import manifest_of
from tests.serialization.readers import FromMemory

ARRAY = np.arange(1000.0)
FIELDS, PARTS = arrays.encode(ARRAY)
FILE = b"".join(PARTS)


def refused(fields: dict[str, Any], file: bytes) -> None:
    with pytest.raises(IntegrityError):
        arrays.decode(fields, memoryview(bytearray(file)))
    # Where references are resolved, it is our own error whatever it was.
    made = payload([file], ".npz")
    link = {"__mlops_payload_ref__": True, "meta": fields, "uri": "x", "suffix": ".npz"}
    link |= {"digest": made.ref.digest, "size": made.ref.size}
    with pytest.raises(IntegrityError):
        unpack(manifest_of([link]), FromMemory(Packed(b"", (made,))))


def zipped(name: str, content: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(name, content)
        for other, data in more.items():
            file.writestr(other, data)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_what_is_tried_is_otherwise_read() -> None:
    assert (arrays.decode(FIELDS, memoryview(bytearray(FILE))) == ARRAY).all()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"PK",
        FILE[:-1],
        FILE[:100],
        FILE + b"x",
        zipped("data.npy", npy(ARRAY)),
        zipped("data.npy", bytes(50_000_000), zipfile.ZIP_DEFLATED),
        zipped("../../data.npy", npy(ARRAY)),
        zipped("/data.npy", npy(ARRAY)),
        zipped("data.npy", npy(ARRAY), other=b"x"),
        zipped("data.npy", npy(np.array([{"a": 1}], dtype=object))),
        FILE.replace(b"data.npy", b"../a.npy"),
        FILE.replace(b"'<f8'", b"'|O'  "[:5]),
        FILE.replace(b"(1000,)", b"(9999,)"),
        FILE[:20] + b"\xff" * 8 + FILE[28:],
    ],
)
def test_archives_that_are_not_ours(file: bytes) -> None:
    refused(FIELDS, file)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"},
        {"dtype": "O"},
        {"dtype": "V8"},
        {"dtype": "<f8,|O"},
        {"dtype": "(1,2"},
        {"dtype": "f8("},
        {"dtype": ""},
        {"dtype": None},
        {"dtype": ["<f8"]},
        {"dtype": "<U2147483647"},
        {"shape": (-1,)},
        {"shape": (1000, -1)},
        {"shape": (2**62, 4)},
        {"shape": (10**30,)},
        {"shape": (1001,)},
        {"shape": (1000.0,)},
        {"shape": (True,) * 3},
        {"shape": 1000},
        {"shape": (1,) * 200},
        {"order": "K"},
        {"order": None},
    ],
)
def test_descriptions_that_lie(change: dict[str, Any]) -> None:
    refused({**FIELDS, **change}, FILE)


@pytest.mark.parametrize("missing", ["dtype", "shape", "order", "writeable"])
def test_descriptions_that_lack_something(missing: str) -> None:
    made = payload([FILE], ".npz")
    fields = {name: item for name, item in FIELDS.items() if name != missing}
    link = {"__mlops_payload_ref__": True, "meta": fields, "suffix": ".npz"}
    link |= {"digest": made.ref.digest, "size": made.ref.size}
    with pytest.raises(IntegrityError):
        unpack(manifest_of([link]), FromMemory(Packed(b"", (made,))))


def framed(parts: bytes, frame: Any) -> Any:
    """A manifest of a frame, over other bytes than its own."""
    packed = pack(frame, spill_bytes=1)
    (old,) = packed.payloads
    # The reference is to these bytes: what is tried is the parser, not the digest.
    return unpack(packed.manifest, FromMemory(Packed(b"", (Payload(old.ref, (parts.ljust(old.ref.size, b"\0"),)),))))


FRAME = pd.DataFrame({"n": np.arange(500), "text": [f"row {n}" for n in range(500)]})
TABLE = b"".join(bytes(part) for part in arrow.write(pa.table({"n": np.arange(500)})))


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"ARROW1\0\0" + b"\xff" * 200 + b"ARROW1", TABLE[:-40], TABLE])
def test_tables_that_are_not_what_the_manifest_says(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        framed(content, FRAME)


# In a process of little memory, which a crash of Arrow's would end as well.
HOSTILE = """
import resource, sys
import numpy as np, pandas as pd, pyarrow as pa
from expops_prefect.errors import IntegrityError
from expops_prefect.serialization import arrow, manifest
from tests.security.test_hostile_files import FRAME, framed

limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
(old,) = manifest.pack(FRAME, spill_bytes=1).payloads
whole = b"".join(bytes(part) for part in old.parts)
ends = {"refused": 0, "read": 0}
# What says where things are stands at the beginning and at the end of the file.
places = [*range(8, 600, 4), *range(len(whole) - 600, len(whole) - 8, 4)]
for place in places:
    for lie in (b"\\xff\\xff\\xff\\x7f", b"\\xff" * 8, b"\\0" * 8):
        try:
            arrow.read(memoryview(bytearray(whole[:place] + lie + whole[place + len(lie):])))
            ends["read"] += 1
        except IntegrityError:
            ends["refused"] += 1
print("END", ends["refused"] > 100, sum(ends.values()) == 3 * len(places))
"""


def test_tables_that_lie_about_themselves() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert "END True True" in done.stdout, f"exit code {done.returncode}\n{done.stderr[-3000:]}"
