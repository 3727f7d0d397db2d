from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import blake3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization.payloads import Mapping, PayloadRef, digest, load, load_verified, payload
from expops_prefect.stores.objects.base import Buffer


class Giving:
    """Gives one buffer or one file."""

    project_root = None

    def __init__(self, mmap: Mapping, data: Buffer = b"", file: Path | None = None) -> None:
        self.mmap = mmap
        self._data = data
        self._file = file

    def data(self, ref: PayloadRef) -> Buffer:
        return self._data

    def file(self, ref: PayloadRef) -> Path | None:
        return self._file


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.binary(max_size=50), max_size=5))
def test_the_digest_is_that_of_the_joined_parts(parts: list[bytes]) -> None:
    assert digest(parts) == blake3.blake3(b"".join(parts)).hexdigest()
    made = payload(parts, ".buf")
    assert made.ref == PayloadRef(digest(parts), len(b"".join(parts)), ".buf")


def test_large_and_shaped_parts() -> None:
    large = np.random.default_rng(0).random((300, 1000))
    parts: list[Buffer] = [b"head", large.data, large[:0].data, bytearray(b"tail")]
    assert digest(parts) == blake3.blake3(b"head" + large.tobytes() + b"tail").hexdigest()
    assert payload(parts, ".x").ref.size == 8 + large.nbytes


def test_keys() -> None:
    ref = PayloadRef("ab" * 32, 1, ".npz")
    assert ref.key == f"cache/payloads/ab/{'ab' * 32}.npz"
    assert PayloadRef("ab" * 32, 1, ".joblib").key == f"cache/model_spill/ab/{'ab' * 32}.joblib"


@pytest.mark.parametrize("size", [0, 1, 5000, 3 << 20])
@pytest.mark.parametrize("mmap", ["copy-on-write", "readonly", "off"])
def test_load(size: int, mmap: Mapping, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(size)
    file = tmp_path / "p"
    file.write_bytes(content)
    ref = PayloadRef(digest([content]), size, ".buf")
    for reader in (Giving(mmap, content), Giving(mmap, bytearray(content)), Giving(mmap, file=file)):
        view = load(ref, reader)
        assert bytes(view) == content
        assert view.readonly == (mmap == "readonly")
        for wrong in (size + 1, size - 1):
            with pytest.raises(IntegrityError, match="bytes instead of"):
                load(PayloadRef(ref.digest, wrong, ".buf"), reader)
    with pytest.raises(IntegrityError, match="cannot be opened"):
        load(ref, Giving(mmap, file=tmp_path / "none"))


def test_a_given_bytearray_is_used_in_place() -> None:
    given_away = bytearray(b"abc")
    view = load(PayloadRef("", 3, ".buf"), Giving("off", given_away))
    view[0] = ord("x")
    assert given_away == b"xbc"
    kept = b"abc"
    load(PayloadRef("", 3, ".buf"), Giving("off", kept))[0] = ord("x")
    assert kept == b"abc"


def test_what_is_unpickled_never_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"evil")
    assert bytes(load_verified(PayloadRef("", 4, ".joblib"), Giving("off", b"good", tmp_path / "p"))) == b"good"
    with pytest.raises(IntegrityError):
        load_verified(PayloadRef("", 5, ".joblib"), Giving("off", b"good"))


def test_importing_is_cheap() -> None:
    code = "import sys, expops_prefect.serialization.manifest, expops_prefect.stores.objects.local.store as store\n"
    code += "print(list(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"numpy", "pandas", "pyarrow", "polars", "sklearn", "cloudpickle", "joblib", "prefect"}
    assert heavy.isdisjoint(ast.literal_eval(loaded))
