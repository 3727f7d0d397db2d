"""Rows of NumPy, Torch, SciPy and HDF5."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse
import scipy.spatial
import scipy.stats
import torch

from tests.values.rows_python import tagged, used


class Signal(np.ndarray):
    pass


class Real(np.float64):
    pass


class Quantity(np.ndarray):
    unit: str

    def __array_finalize__(self, obj: Any) -> None:
        self.unit = getattr(obj, "unit", "m")


def masked(**changes: Any) -> Any:
    return np.ma.masked_array([1.0, 2.0], mask=[True, False], **changes)


def with_gradient(value: float | None) -> Any:
    made = torch.tensor([1.0, 2.0], requires_grad=True)
    if value is not None:
        (made.sum() * value).backward()
    return made


def module(value: float | None) -> Any:
    torch.manual_seed(0)
    made = torch.nn.Linear(2, 1)
    if value is not None:
        (made(torch.ones(1, 2)).sum() * value).backward()
    return made


def in_mode(*, training: bool) -> Any:
    made = module(None)
    made.train(training)
    return made


def hooked(hook: Any) -> Any:
    made = module(None)
    if hook is not None:
        made.register_forward_hook(hook)
    return made


def h5_value(name: str) -> Any:
    folder = Path(tempfile.mkdtemp())
    with h5py.File(folder / "a.h5", "w") as file:
        kind = h5py.enum_dtype({"RED": 0, name: 1}, basetype="i")
        data = file.create_dataset("a", (2,), dtype=kind)
        data[:] = [0, 1]
        return data[:]


def h5_file() -> Any:
    return h5py.File(Path(tempfile.mkdtemp()) / "a.h5", "w")


def h5_dataset() -> Any:
    return h5_file().create_dataset("a", (2,))


def generator(draws: int) -> Any:
    made = np.random.default_rng(0)
    made.random(draws)
    return made


def with_hook(hook: Any, *, after: bool = False) -> Any:
    made = torch.tensor([1.0], requires_grad=True)
    if hook is not None and after:
        made.register_post_accumulate_grad_hook(hook)
    elif hook is not None:
        made.register_hook(hook)
    return made


def layers(*, tied: bool) -> Any:
    made = torch.nn.ModuleList([module(None), module(None)])
    if tied:
        made[1].weight = made[0].weight  # type: ignore[union-attr]
    return made


def torch_generator(draws: int) -> Any:
    made = torch.Generator()
    made.manual_seed(0)
    torch.rand(draws, generator=made)
    return made


def drawing(seed: int) -> Any:
    made = scipy.stats.norm(0, 1)
    made.random_state = np.random.RandomState(seed)
    return made


CORNERS = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
RECORD = np.dtype([("a", "i4"), ("b", "f8")])

DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "order of an array": lambda: [np.zeros((2, 3)), np.zeros((2, 3), order="F")],
    "gradient of a tensor": lambda: [with_gradient(None), with_gradient(1), with_gradient(2)],
    "gradients in a module": lambda: [module(None), module(1), module(2)],
    "mode of a module": lambda: [in_mode(training=True), in_mode(training=False)],
    "hooks of a module": lambda: [hooked(None), hooked(print)],
    "hooks of a tensor": lambda: [with_hook(None), with_hook(len), with_hook(sum), with_hook(len, after=True)],
    "weights that are one": lambda: [layers(tied=True), layers(tied=False)],
    "conjugated tensor": lambda: [torch.tensor([1 + 1j]).conj(), torch.tensor([1 - 1j])],
    "frozen parameters": lambda: [module(None), module(None).requires_grad_(False)],
    "attribute of a tensor": tagged(lambda: torch.tensor([1.0])),
    "requires_grad": lambda: [torch.tensor([1.0]), torch.tensor([1.0], requires_grad=True)],
    "strides of a tensor": lambda: [torch.zeros(2, 2), torch.zeros(2, 2).t(), torch.zeros(1).expand(2, 2)],
    "parameter and tensor": lambda: [torch.ones(1), torch.nn.Parameter(torch.ones(1), requires_grad=False)],
    "channels last": lambda: [
        torch.zeros(1, 2, 3, 3),
        torch.zeros(1, 2, 3, 3).to(memory_format=torch.channels_last),
    ],
    "sparse tensor": lambda: [torch.eye(2), torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr()],
    "names in a tensor's dtype": lambda: [torch.zeros(1, dtype=torch.float16), torch.zeros(1, dtype=torch.bfloat16)],
    "torch.Generator": lambda: [torch_generator(0), torch_generator(1)],
    "optimizer": lambda: [torch.optim.SGD(module(None).parameters(), lr=lr) for lr in (0.1, 0.2)],
    "dtype metadata": lambda: [
        np.zeros(1, np.dtype("i4")),
        np.zeros(1, np.dtype("i4", metadata={"a": 1})),
        np.zeros(1, np.dtype("i4", metadata={"a": 2})),
    ],
    "dtype metadata of a field": lambda: [
        np.zeros(1, np.dtype([("a", np.dtype("i4", metadata={"a": number}))])) for number in (1, 2)
    ],
    "dtype with metadata itself": lambda: [np.dtype("i4"), np.dtype("i4", metadata={"a": 1})],
    "enum of HDF5": lambda: [h5_value("GREEN"), h5_value("BLUE")],
    "hard mask": lambda: [masked(), masked(hard_mask=True)],
    "fill value": lambda: [masked(), masked(fill_value=3.0)],
    "attribute of a masked array": tagged(masked),
    "record dtype": lambda: [
        np.zeros(1, RECORD),
        np.zeros(1, np.dtype((np.record, RECORD))),
        np.zeros(1, RECORD).view(np.recarray),
    ],
    "attribute of a sparse matrix": tagged(lambda: scipy.sparse.csr_matrix([[1, 0]])),
    "attribute of a sparse array": tagged(lambda: scipy.sparse.coo_array([[1, 0]])),
    "subclass of a number": tagged(lambda: Real(1)),
    "what is missing in texts": lambda: [
        np.array(["a"], np.dtypes.StringDType()),
        np.array(["a"], np.dtypes.StringDType(na_object=None)),
    ],
    "attribute of an array's subclass": tagged(lambda: np.arange(2.0).view(Signal)),
    "unit of an array's subclass": tagged(lambda: np.arange(2.0).view(Quantity), "unit"),
    "state of a generator": lambda: [generator(0), generator(1), np.random.default_rng(1)],
    "state of RandomState": lambda: [np.random.RandomState(0), np.random.RandomState(1)],
    "distribution": lambda: [scipy.stats.norm(0, 1), scipy.stats.norm(0, 2), scipy.stats.t(3)],
    "distribution with a generator": lambda: [drawing(0), drawing(1)],
    "tree of points": lambda: [scipy.spatial.cKDTree([[0.0, 1.0]]), scipy.spatial.cKDTree([[0.0, 2.0]])],
    "polynomial": lambda: [np.polynomial.Polynomial([1, 2]), np.polynomial.Polynomial([1, 3])],
}

ALIKE: dict[str, Callable[[], list[Any]]] = {
    "frozen distribution": lambda: [
        scipy.stats.norm(0, 1),
        used(scipy.stats.norm(0, 1), lambda v: v.rvs(3)),
        used(scipy.stats.norm(0, 1), lambda v: np.random.random(3)),
    ],
    "distribution": lambda: [scipy.stats.norm, used(scipy.stats.norm, lambda v: v.rvs(3))],
    "global RandomState": lambda: [
        np.random.mtrand._rand,  # type: ignore[attr-defined]
        used(np.random.mtrand._rand, lambda v: np.random.random(3)),  # type: ignore[attr-defined]
    ],
    "multivariate distribution": lambda: [
        scipy.stats.multivariate_normal([0, 0]),
        scipy.stats.multivariate_normal([0, 0]),
    ],
    "mask that hides nothing": lambda: [np.ma.masked_array([1.0]), np.ma.masked_array([1.0], mask=[False])],
    "module": lambda: [module(None), module(None)],
    "hooks of modules": lambda: [hooked(print), hooked(print)],
    "triangles after use": lambda: [
        scipy.spatial.Delaunay(CORNERS),
        used(scipy.spatial.Delaunay(CORNERS), lambda v: v.find_simplex([0.2, 0.2]), lambda v: v.transform),
    ],
    "sparse tensor": lambda: [torch.eye(2).to_sparse(), torch.eye(2).to_sparse().coalesce()],
}

REFUSED: dict[str, Callable[[], Any]] = {
    "computed tensor": lambda: with_gradient(None) * 2,
    "meta tensor": lambda: torch.zeros(2, device="meta"),
    "HDF5 file": h5_file,
    "HDF5 dataset": h5_dataset,
}
