from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization import arrays
from expops_prefect.serialization.manifest import Packed, pack, unpack
from expops_prefect.serialization.payloads import Mapping, Payload, PayloadRef
from tests.serialization.exact import assert_same
from tests.serialization.readers import FromFiles, FromMemory, round_trip, suffixes

BASE = np.arange(2000, dtype=np.float64).reshape(40, 50)


class Tagged(np.ndarray):
    pass


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


PLAIN = {
    "C order": BASE,
    "F order": np.asfortranarray(BASE),
    "transposed": BASE.T,
    "strided": BASE[::2, ::3],
    "reversed": BASE[::-1],
    "permuted": BASE.reshape(10, 4, 50).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.arange(50.0), (40, 50)).copy(),
    "read-only": read_only(BASE.copy()),
    "bool": BASE > 7,
    "int8": BASE.astype("i1"),
    "float16": BASE.astype("f2"),
    "complex": BASE + 1j,
    "long double": BASE.astype("g"),
    "big-endian": BASE.astype(">f8"),
    "big-endian datetimes": np.arange(2000).astype(">M8[s]"),
    "datetimes": np.arange(2000).astype("M8[ns]"),
    "odd datetimes": np.arange(2000).astype("M8[25s]"),
    "NaT": np.array(["NaT", "2020-01-01"] * 1000, dtype="M8[D]"),
    "timedeltas": np.arange(2000).astype("m8[us]"),
    "bytes": np.array([b"ab", b"c"] * 1000),
    "text": np.array(["ab", "日本"] * 1000),
    "0-d": np.array("x" * 500),
    "1 by n by 1": BASE.reshape(1, 2000, 1),
    "payload bits of NaN": np.array([0x7FF8000000000001, 0xFFF0000000000001] * 200, dtype="u8").view("f8"),
}
PICKLED = {
    "objects": np.array([None, 1, "x", 2.5] * 300, dtype=object),
    "records": np.zeros(500, dtype=[("a", "f8"), ("b", "i4")]),
    "padded records": np.zeros(500, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "void": np.zeros(500, dtype="V8"),
    "subclass": BASE.view(Tagged),
    "masked": np.ma.masked_less(BASE, 100),
    "empty": np.empty((0, 7)),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("mmap", ["copy-on-write", "off"])
def test_plain_arrays_become_npz_files(name: str, mmap: Mapping, tmp_path: Path) -> None:
    packed = pack(PLAIN[name], spill_bytes=1024)
    assert suffixes(packed) == [".npz"]
    assert_same(PLAIN[name], unpack(packed.manifest, FromMemory(packed, mmap)))
    reader = FromFiles(tmp_path, mmap)
    assert_same(PLAIN[name], unpack(reader.store(packed), reader))
    assert reader.read_whole == []


@pytest.mark.parametrize("name", PICKLED)
def test_other_arrays_are_exact_too(name: str) -> None:
    packed = pack(PICKLED[name], spill_bytes=1024)
    assert ".npz" not in suffixes(packed)
    assert_same(PICKLED[name], unpack(packed.manifest, FromMemory(packed)))


@pytest.mark.parametrize("name", PLAIN)
def test_numpy_reads_the_file(name: str) -> None:
    (payload,) = pack(PLAIN[name], spill_bytes=1024).payloads
    content = b"".join(payload.parts)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        (member,) = archive.infolist()
        assert member.compress_type == zipfile.ZIP_STORED
    loaded = np.load(io.BytesIO(content), allow_pickle=False)["data"]
    np.testing.assert_array_equal(loaded, PLAIN[name])
    assert loaded.dtype == PLAIN[name].dtype


def test_data_are_aligned_and_not_copied() -> None:
    array = np.random.default_rng(0).random((100, 100))
    (payload,) = pack(array, spill_bytes=1024).payloads
    content = b"".join(payload.parts)
    assert content.index(array.tobytes()) % 64 == 0
    views = [np.frombuffer(part, np.uint8) for part in payload.parts]
    assert any(np.shares_memory(view, array) for view in views)
    assert payload.ref.size <= array.nbytes + 512


def test_the_content_alone_decides_the_name() -> None:
    assert pack(BASE, spill_bytes=1).payloads[0].ref == pack(BASE.copy(), spill_bytes=1).payloads[0].ref
    assert pack(BASE, spill_bytes=1).payloads[0].ref != pack(BASE.T, spill_bytes=1).payloads[0].ref


LARGE = np.random.default_rng(1).random(300_000)


@pytest.mark.parametrize("array", [LARGE, BASE])
def test_copy_on_write(array: np.ndarray, tmp_path: Path) -> None:
    reader = FromFiles(tmp_path)
    manifest = reader.store(pack(array, spill_bytes=1024))
    (file,) = tmp_path.rglob("*.npz")
    before = file.read_bytes()
    loaded = unpack(manifest, reader)
    assert isinstance(loaded, np.ndarray)
    loaded += 1
    np.testing.assert_array_equal(loaded, array + 1)
    assert_same(array, unpack(manifest, reader))
    assert file.read_bytes() == before


@pytest.mark.parametrize("array", [LARGE, BASE])
def test_readonly_mode(array: np.ndarray, tmp_path: Path) -> None:
    packed = pack(array, spill_bytes=1024)
    files = FromFiles(tmp_path, "readonly")
    for loaded in (unpack(files.store(packed), files), unpack(packed.manifest, FromMemory(packed, "readonly"))):
        assert isinstance(loaded, np.ndarray)
        assert not loaded.flags.writeable
        np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("mmap", ["copy-on-write", "readonly"])
def test_a_mapped_file_may_be_replaced_or_removed(mmap: Mapping, tmp_path: Path) -> None:
    reader = FromFiles(tmp_path, mmap)
    packed = pack(LARGE)
    loaded = [unpack(reader.store(packed), reader) for _ in range(2)]
    key = packed.payloads[0].ref.key
    target = tmp_path / key
    other = target.with_name("other")
    other.write_bytes(bytes(packed.payloads[0].ref.size))
    other.replace(target)
    target.unlink()
    for array in loaded:
        np.testing.assert_array_equal(array, LARGE)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_mappings_do_not_use_up_the_open_files(tmp_path: Path) -> None:
    reader = FromFiles(tmp_path)
    manifest = reader.store(pack(LARGE))
    before = open_files()
    loaded = [unpack(manifest, reader) for _ in range(300)]
    assert open_files() - before <= 256
    for array in (loaded[0], loaded[-1]):
        assert_same(array, LARGE)
    del loaded, array
    assert open_files() == before


class Tampered(FromMemory):
    content = b""

    def data(self, ref: PayloadRef) -> bytes:
        return self.content


def test_any_other_byte_outside_the_data_is_refused() -> None:
    packed = pack(BASE, spill_bytes=1024)
    content = b"".join(packed.payloads[0].parts)
    start = content.index(BASE.tobytes())
    outside = [*range(14), *range(18, start), *range(start + BASE.nbytes, len(content))]
    reader = Tampered(packed)
    for position in outside:
        reader.content = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        with pytest.raises(IntegrityError):
            unpack(packed.manifest, reader)
    for other in (content[:-1], content + b"\0", b"", content[1:]):
        reader.content = other
        with pytest.raises(IntegrityError):
            unpack(packed.manifest, reader)


def test_files_of_another_size_are_refused_before_they_are_read(tmp_path: Path) -> None:
    for mmap in ("copy-on-write", "readonly", "off"):
        reader = FromFiles(tmp_path, mmap)
        packed = pack(LARGE)
        manifest = reader.store(packed)
        path = tmp_path / packed.payloads[0].ref.key
        path.chmod(0o644)
        os.truncate(path, 1 << 40)  # sparse: reading it whole would take all memory
        with pytest.raises(IntegrityError, match="bytes instead of"):
            unpack(manifest, reader)
        path.unlink()


def test_missing_file(tmp_path: Path) -> None:
    reader = FromFiles(tmp_path)
    manifest = reader.store(pack(LARGE))
    reader.root = tmp_path / "elsewhere"
    with pytest.raises(IntegrityError, match="missing"):
        unpack(manifest, reader)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"},
        {"dtype": "f8,f8"},
        {"shape": (-1, 5)},
        {"shape": (2.0, 5)},
        {"shape": (2, 6)},
        {"shape": (1 << 62, 1 << 62)},
        {"order": "A"},
        {"order": "F"},
    ],
)
def test_descriptions_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    fields, parts = arrays.encode(np.arange(10.0).reshape(2, 5))
    with pytest.raises((IntegrityError, ValueError)):
        arrays.decode({**fields, **change}, memoryview(b"".join(parts)))


def test_sizes_beyond_four_gibibytes_are_described(tmp_path: Path) -> None:
    # A sparse stand-in with a true layout: zeros have a known checksum only if they are read, so it stays unread.
    shape = (5 << 30,)
    header = arrays._npy_header("|u1", shape, "C")
    size = len(header) + shape[0]
    path = tmp_path / "large.npz"
    with path.open("wb") as file:
        file.write(arrays._local_header(0, size) + header)
        file.seek(shape[0], os.SEEK_CUR)
        file.write(arrays._directory(0, size))
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].file_size == size
    ref = PayloadRef("0" * 64, path.stat().st_size, ".npz")
    fields = {"dtype": "|u1", "shape": shape, "order": "C", "writeable": True}

    class Sparse(FromMemory):
        def file(self, ref: PayloadRef) -> Path | None:
            return path

    from expops_prefect.serialization.payloads import load

    loaded = arrays.decode(fields, load(ref, Sparse(Packed(b"", ()), "readonly")))
    assert loaded.shape == shape
    assert loaded[-1] == 0


# NumPy's own pickle turns datetimes of foreign byte order into native ones; small arrays are pickled.
DTYPES = hnp.scalar_dtypes().filter(lambda dtype: dtype.isnative or dtype.kind not in "mM")


@settings(deadline=None, max_examples=150)
@given(
    array=hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)),
    order=st.sampled_from("CF"),
    cut=st.booleans(),
)
def test_any_array(array: np.ndarray, order: str, cut: bool) -> None:
    array = np.array(array, order="F" if order == "F" else "C")
    if cut and array.ndim:
        array = array[::-1]
    assert_same(array, round_trip(array, spill_bytes=1))
    assert isinstance(pack(array, spill_bytes=1).payloads, tuple)
    for payload in pack(array, spill_bytes=1).payloads:
        assert isinstance(payload, Payload)
