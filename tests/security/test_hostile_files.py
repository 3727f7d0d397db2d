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
import polars as pl
import pyarrow as pa
import pytest

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization import arrays, arrow, frames
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
    assert "END True True" in said(HOSTILE)


def said(code: str) -> str:
    """What a process of its own says, which a crash of Arrow's would end as well."""
    run = [sys.executable, "-X", "faulthandler", "-c", code]
    done = subprocess.run(run, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=200)
    return f"{done.stdout}\nexit code {done.returncode}\n{done.stderr[-3000:]}"


TEXTS = [f"a text of some length {n}" if n % 3 else "short" for n in range(300)]
NESTED = pa.table(
    {
        "text": pa.array(TEXTS),
        "bytes": pa.array([text.encode() for text in TEXTS], pa.large_binary()),
        "view": pa.array([None if n % 7 == 0 else text for n, text in enumerate(TEXTS)], pa.string_view()),
        "lists": pa.array([TEXTS[: n % 4] for n in range(300)]),
        "large": pa.array([[n] * (n % 4) for n in range(300)], pa.large_list(pa.int16())),
        "fixed": pa.array([[n, None] for n in range(300)], pa.list_(pa.int32(), 2)),
        "struct": pa.array([{"a": text, "b": n} for n, text in enumerate(TEXTS)]),
        "map": pa.array([[(text, n)] for n, text in enumerate(TEXTS)], pa.map_(pa.string(), pa.int64())),
        "codes": pa.array(TEXTS).dictionary_encode(),
        "runs": pa.RunEndEncodedArray.from_arrays([100, 300], ["x", "y"]),
        "numbers": pa.array([None if n % 5 == 0 else n for n in range(300)]),
        "truth": pa.array([n % 2 == 0 for n in range(300)]),
        "nothing": pa.nulls(300),
    }
)


def frames_of_every_kind() -> dict[str, Any]:
    """Frames of every library that is read from an Arrow file."""
    nullable = pd.array([None if n % 5 == 0 else n for n in range(300)], dtype="Int64")
    return {
        "pandas": pd.DataFrame({"n": range(300), "text": TEXTS, "nullable": nullable}),
        "objects": pd.Series([None if n % 7 == 0 else text for n, text in enumerate(TEXTS)], dtype=object),
        "categories": pd.DataFrame({"c": pd.Categorical(["a", "b", "c"] * 100), "n": range(300)}),
        "polars": pl.DataFrame({"text": TEXTS, "lists": [TEXTS[: n % 4] for n in range(300)], "n": range(300)}),
        "arrow": NESTED,
    }


def touch(value: Any) -> None:
    """Look at every value."""
    if isinstance(value, pa.Table):
        value.to_pylist()
    elif isinstance(value, pl.DataFrame):
        value.rows()
    else:
        repr(value.to_dict())


def test_frames_of_every_kind_are_read_as_they_are() -> None:
    for name, value in frames_of_every_kind().items():
        encoded = frames.encode(value, 100)
        assert encoded is not None, name
        back: Any = frames.decode(encoded.fields, memoryview(bytearray(joined(encoded.parts))))
        touch(back)
        assert back.equals(value), name


def joined(parts: list[Any]) -> bytes:
    return b"".join(bytes(part) for part in parts)


CHANGED = """
import random
from expops_prefect.serialization import frames
from tests.security.test_hostile_files import frames_of_every_kind, joined, touch

random.seed(7)
LIES = [b"\\xff\\xff\\xff\\x7f", b"\\xff" * 8, b"\\0" * 4, b"\\xff\\xff\\xff\\xff", b"\\0\\0\\0\\x20", b"\\0\\0\\x7f"]
ends = {"refused": 0, "read": 0}
for value in frames_of_every_kind().values():
    encoded = frames.encode(value, 100)
    whole = joined(encoded.parts)
    for turn in range(700):
        changed = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            lie = random.choice(LIES) if random.random() < 0.7 else random.randbytes(random.randint(1, 8))
            place = random.randrange(len(whole) - 8)
            place -= place % (len(lie) if len(lie) in (4, 8) and random.random() < 0.7 else 1)
            changed[place:place + len(lie)] = lie
        try:
            touch(frames.decode(encoded.fields, memoryview(changed)))
            ends["read"] += 1
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            ends["refused"] += 1
print("END", ends["refused"] > 100, ends["read"] > 100, sum(ends.values()))
"""


def test_values_of_frames_that_were_changed_anywhere() -> None:
    # Text that is none any more may be read; what must not be is what lies outside of the file.
    assert "END True True 3500" in said(CHANGED)


@pytest.mark.parametrize("width", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_that_lies_outside(width: pa.DataType) -> None:
    whole = joined(arrow.write(pa.table({"text": pa.array(TEXTS, width)})))
    forms = {pa.string(): "<i4", pa.large_string(): "<i8", pa.string_view(): "<i4"}
    vector = pa.ipc.open_file(whole).read_all().column(0).chunk(0)
    buffer = vector.buffers()[1].to_pybytes()
    place = whole.index(buffer)
    for number in (400, 401, 402, 403):
        changed = np.frombuffer(buffer, forms[width]).copy()
        if number >= len(changed):
            number //= 2
        changed[number] = 2**31 - 10
        lying = whole[:place] + changed.tobytes() + whole[place + len(buffer) :]
        if width == pa.string_view() and number == 401:
            continue  # the beginning of the text, once more
        with pytest.raises(IntegrityError):
            arrow.read(memoryview(bytearray(lying)))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_compressed_tables_are_not_unpacked(compression: str, dictionary: bool) -> None:
    zeros = pa.array(np.zeros(50_000_000, np.uint8))
    values = pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(["x" * 50_000_000])) if dictionary else zeros
    sink = io.BytesIO()
    table = pa.table({"0": values})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write(table)
    before = pa.default_memory_pool().bytes_allocated(), pa.default_memory_pool().max_memory()
    with pytest.raises(IntegrityError, match="compressed"):
        arrow.read(memoryview(sink.getvalue()))
    assert (pa.default_memory_pool().bytes_allocated(), pa.default_memory_pool().max_memory()) == before
