"""Digests that pin the format: a change of one invalidates every cache that exists.

If a change is meant, raise ``FORMAT`` and replace all of them.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import pathlib
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expops_prefect.fingerprint import graph as code_graph
from expops_prefect.fingerprint.values import FORMAT, fingerprint


class Colour(enum.Enum):
    RED = 1


@dataclass
class Settings:
    rate: float
    names: tuple[str, ...] = ("a",)


class Plain:
    def __init__(self) -> None:
        self.b = [1, None]
        self.a = "text"


VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "integer": 42,
    "large integer": 2**100,
    "float": 0.1,
    "complex": 1 - 2j,
    "text": "grün",
    "long text": "text" * 100,
    "bytes": b"\x00\xff",
    "list": [1, 2, 3],
    "mixed list": [1, "a", None, 2.5, [True]],
    "tuple": ("a", "b"),
    "dict": {"rate": 0.1, "layers": [64, 32], "name": None},
    "ordered dict": OrderedDict(a=1),
    "set": {"a", "b", "c"},
    "mixed set": {1, "a", (2, None)},
    "range": range(3),
    "decimal": decimal.Decimal("1.50"),
    "datetime": dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc),
    "path": pathlib.PurePosixPath("data/train.csv"),
    "uuid": uuid.UUID(int=7),
    "enum": Colour.RED,
    "dataclass": Settings(0.5),
    "object": Plain(),
    "array": np.arange(6, dtype="<f8").reshape(2, 3),
    "large array": np.arange(300_000, dtype="<i4"),
    "text array": np.array(["a", "bc"]),
    "object array": np.array([1, "a", None], dtype=object),
    "frame": pd.DataFrame({"a": np.array([1, 2], "<i8"), "b": np.array(["x", None], dtype=object)}).set_axis(
        pd.Index(["a", "b"], dtype=object), axis=1
    ),
    "series": pd.Series(np.array([1.5, 2.5]), name="s"),
    "table": pa.table({"a": pa.array([1, None], pa.int64()), "b": ["x", "yz"]}),
}

GOLDEN = {
    "none": "4aed50f272f9843418077fff514f5dc092b8ed1d578715f1b2b412272d63fca0",
    "true": "1bd3b51180df6a51139542c34e14fbf8b9b7faeeceed6e2907774c22412326b1",
    "integer": "962248ca93a6a0340eaa0e2256b5a73beb5fd140c4f52a3ee04e32bcaba5ddbe",
    "large integer": "9c5147c3d1c179c89c2459c5621b3e9d8f330f234539bdff91883f294619224f",
    "float": "22982b83204f9a31844cd1c766ff114964109d5dfaf3a109bd836c5c136bb9b3",
    "complex": "132571c8f078e31bb9f54581e113074c8438559dc96679b07177a4120879740d",
    "text": "27ba657d3b770649e9b20929c9181f655dd068a3018a5397dbf9537433895786",
    "long text": "e7ee055ed247d31bc9cb1d73e095b103b995e283fba99df3127e9b1c0e1e198f",
    "bytes": "328ef29e323c2936200e6bbc61438f27fd63dcf75d17452b311201a0ffb2d05e",
    "list": "096c5b6d084a5928b418b3f86ccf0a26bb88dbe0b9e869e928b5323c9b63a08c",
    "mixed list": "c398294d325e4cf7e7b87406dc9b48bb4e7e70cc097941436f9b9c52e381a0af",
    "tuple": "d108100e75a849f4579d7f3177dd9596cf8e79c886e63c0bceaa2ee1dd5920ce",
    "dict": "5a62b35e63ad424babafce6b7715b12fd825d56f9eae196c2d9b6501b5b7f624",
    "ordered dict": "1dceb179316266088dc467685efbedc1721ccc6bf29152379e99f1288065747d",
    "set": "b0d396aae8fbd4aaa286bc24e463b21db71ce7470aad46b1c9ec207a27852d1e",
    "mixed set": "6dcd0324c3488e5e9f8e4aa2f023962a508bd82ef4d365dce09a0fb13a686406",
    "range": "355a3fff9e4ace16d9689bc100c7b135eddf2234b150ce64238fd404477f652f",
    "decimal": "8d65448868b618352eb741328237a5b1eb65015f6898225d6fe3974f79c72e00",
    "datetime": "e2ab08dde52bfb8f3b7ce7196a878f4cf6d506fc024a841046880ebd8850d30f",
    "path": "4f023ecba89e648e2dc830c7448cdaab620e49a161b8811796225351579f6bdb",
    "uuid": "e6737de3d99c660a74920a987a6dc61e97a69364fc6470784a6f270abc2e4e88",
    "enum": "340daeaebd980c0d614ac75eb2bdb3bb403f9dfa994471d8e4715b15a6d0faf2",
    "dataclass": "6fef516f8a0a54b873cff46643fbf562d73550e02cda4c931245b64125c7b8e7",
    "object": "9c15d16a4a2132327629fd0b0695edc70eff0338e2e3a739450a063eaf99ecc3",
    "array": "3d9477773c722ab3180c7dd118ac27f3fa473eed7dc1774e81a7393722e6da31",
    "large array": "58d0bed710682ed298882b849cd5e64e619c629a9c98a4a3d8d9b8d3a6d3445e",
    "text array": "fbc39138ba4b01cdce5f7cfac906afb7cac9c37ecfff198b75e9afbf4ca97b78",
    "object array": "a2fe0370556770f4b005bf84aa857e4837611e7b9f7959c6829365d31919118c",
    "frame": "570b715f06d3396f7583835e1b1cb0379a60691cca1ebba4d3bd74ed9b5926ee",
    "series": "9a428fbb883553f5637e3a8c8d627a1f3f56c773fc09c392e58ced68f18893cd",
    "table": "3f456f314048b7b9e1017bdf5888dddc86c262472439ec449383d57980cffe0c",
}


@pytest.mark.parametrize("name", VALUES)
def test_the_format_is_as_it_was(name: str) -> None:
    assert FORMAT == 1
    assert fingerprint(VALUES[name]) == GOLDEN[name]


def test_the_format_of_code_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its graph; how Python itself prints a syntax tree differs from one version to the next."""
    monkeypatch.setattr(code_graph, "_HEAD", b"any version of Python")
    graph = code_graph.CodeGraph(None)
    graph.nodes = [
        code_graph.Node("root", b"root", edges=[("", 1)]),
        code_graph.Node("main:train", b"train", "def train(): ...", [("rate", 2), ("scale", 1)]),
        code_graph.Node("const:main:rate", b"0.5"),
    ]
    assert graph.digest() == "818712e4b42f93452b150dcabc66ea1d0480ea5b3363177b944f15aa30da095f"
