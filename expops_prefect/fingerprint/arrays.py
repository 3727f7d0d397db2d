"""Encoders for NumPy, SciPy and Torch. Imported when the first of their objects is encoded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from expops_prefect.fingerprint import buffers
from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import buffer, integer, named, size, string, text
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.leftovers import attributes_of, with_attributes

_BLOCK: Final = 8 << 20
_MASKED: Final = frozenset(vars(np.ma.masked_array([0, 1]))) | {
    *("_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict"),
}
"""The attributes in which NumPy keeps the state of a masked array."""
_SPARSE_STATE: Final = frozenset(
    {
        *("data", "indices", "indptr", "coords", "offsets", "rows", "dtype", "maxprint"),
        *("has_canonical_format", "has_sorted_indices", "blocksize"),
    }
)
_SPARSE_PARTS: Final = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "dia": ("data", "offsets"),
    "lil": ("rows", "data"),
}


def encode_array(walk: Walk, value: np.ndarray[Any, Any]) -> bytes:
    """An array by class, dtype, shape, elements in C order, and its order in memory."""
    cls = type(value)
    if cls is np.ndarray:
        if walk.classes is not None:
            walk.classes.add(cls)
        if not value.dtype.hasobject and value.dtype.kind != "T":
            plain_parts = dtype_form(walk, value.dtype), _shape(value), elements(walk, value)
            return named("numpy.ndarray", *plain_parts, *_order(value))
    elif cls.__reduce__ is not np.ndarray.__reduce__ or cls.__reduce_ex__ is not np.ndarray.__reduce_ex__:
        from expops_prefect.fingerprint.objects import encode_object

        return encode_object(walk, value)
    known = walk.enter(value)
    if known is not None:
        return known
    plain = value.view(np.ndarray)
    parts = [dtype_form(walk, value.dtype), _shape(value), elements(walk, plain), *_order(value)]
    if cls is np.ndarray:
        return walk.leave(value, named("numpy.ndarray", *parts))
    if walk.classes is not None:
        walk.classes.add(cls)
    state = {} if isinstance(value, np.memmap) else attributes_of(value, cls)
    return walk.leave(value, named("array", text(class_name(cls)), *parts, walk.at(".__dict__", dict(state))))


def _order(value: np.ndarray[Any, Any]) -> Iterator[bytes]:
    """What a task can tell of the order of an array in memory: sums over the other order have other last bits.

    The steps of views, and whether an array may be written, are left out: they are lost where it is stored.
    """
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        yield named("column by column")


def _shape(value: np.ndarray[Any, Any]) -> bytes:
    return size(value.ndim) + b"".join(map(integer, value.shape))


def dtype_form(walk: Walk, dtype: np.dtype[Any]) -> bytes:
    """The form of a dtype: byte order, fields with their offsets and titles, sub-arrays, metadata, class of records."""
    form = _dtype_form(walk, dtype)
    kind = dtype.type if dtype.fields is not None and dtype.type is not np.void else None
    # Some releases of NumPy give a date type that was pickled empty metadata in place of none.
    if not dtype.metadata and kind is None:
        return form
    metadata = dict(dtype.metadata or {})
    return named("dtype with more", form, walk.encode(metadata), text(class_name(kind) if kind else ""))


def _dtype_form(walk: Walk, dtype: np.dtype[Any]) -> bytes:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return named("dtype[]", dtype_form(walk, base), walk.encode(shape))
    if dtype.fields is not None:
        fields = []
        for name in dtype.names or ():
            inner, offset, *title = dtype.fields[name]
            fields.append(string(name) + dtype_form(walk, inner) + integer(offset) + walk.encode(title))
        return named("dtype{}", integer(dtype.itemsize), string(str(dtype.isalignedstruct)), *fields)
    if dtype.kind == "T":  # numpy.dtypes.StringDType
        missing = getattr(dtype, "na_object", None)
        parts = walk.encode(missing), string(str(getattr(dtype, "coerce", True)))
        is_none = missing is None and hasattr(dtype, "na_object")
        return named("dtype T", *parts, *([named("None")] if is_none else []))
    return named("dtype", string(dtype.str))


def elements(walk: Walk, value: np.ndarray[Any, Any]) -> bytes:
    """The form of an array's elements in C order."""
    dtype = value.dtype
    if dtype.fields is not None:
        # By field, because the bytes between fields are undefined.
        return b"".join(walk.at(f"[{name!r}]", np.asarray(value[name])) for name in dtype.names or ())
    if dtype.hasobject or dtype.kind == "T":
        return walk.sequence(value.ravel(order="C").tolist())
    if dtype.kind in "fc" and np.finfo(dtype).nmant == 63:
        # Extended precision: 10 bytes of 16 are the number, the others undefined.
        raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8).reshape(-1, 16)[:, :10]
        return buffer(b"A", np.ascontiguousarray(raw).data.cast("B") if raw.size else b"")
    if value.flags.c_contiguous:
        return buffer(b"A", _bytes_of(value))
    total = value.nbytes
    if total <= _BLOCK:
        return buffer(b"A", _bytes_of(np.ascontiguousarray(value)))
    return b"BA" + size(total) + buffers.digest_stream(_blocks(value), total)


def _blocks(value: np.ndarray[Any, Any]) -> Iterator[memoryview | bytes]:
    """The bytes of a large array in C order, a few megabytes at a time."""
    rows = max(1, _BLOCK // max(1, value.nbytes // len(value)))
    for start in range(0, len(value), rows):
        block = value[start : start + rows]
        if block.nbytes > 4 * _BLOCK and block.ndim > 1:
            yield from _blocks(block[0])
        else:
            yield _bytes_of(np.ascontiguousarray(block))


def _bytes_of(value: np.ndarray[Any, Any]) -> memoryview | bytes:
    if value.nbytes == 0:
        return b""
    # Through uint8: dates and the like do not support the buffer protocol.
    return value.reshape(-1).view(np.uint8).data


def encode_scalar(walk: Walk, value: np.generic) -> bytes:
    """A NumPy scalar; its form differs from that of the Python number and of the 0-dimensional array."""
    cls = type(value)
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind == "T":
        array = np.array(value, dtype=object)
    form = named("scalar", text(class_name(cls)), dtype_form(walk, array.dtype), elements(walk, array))
    return form if cls.__module__ == "numpy" else with_attributes(walk, value, form)


def encode_masked(walk: Walk, value: Any) -> bytes:
    """A masked array; no mask equals an all-false mask, into which pickling turns it."""
    known = walk.enter(value)
    if known is not None:
        return known
    parts = [
        walk.encode(np.asarray(value.data)),
        walk.encode(np.ma.getmaskarray(value)),
        # Of a view, because reading the default stores it in the array.
        walk.encode(np.asarray(value.view().fill_value, dtype=value.dtype)),
    ]
    if value.hardmask:
        parts.append(walk.encode("hard mask"))
    own = {name: part for name, part in attributes_of(value, type(value)).items() if name not in _MASKED}
    own |= {name: value.__dict__[name] for name in ("_optinfo", "_basedict") if value.__dict__.get(name)}
    if own:
        parts.append(walk.at(".__dict__", dict(sorted(own.items()))))
    return walk.leave(value, named("masked", text(class_name(type(value))), *parts))


def encode_sparse(walk: Walk, value: Any) -> bytes:
    """A SciPy sparse matrix or array by its parts, without cached properties of them."""
    from expops_prefect.fingerprint.objects import encode_object

    if walk.classes is not None:
        walk.classes.add(type(value))
    names = _SPARSE_PARTS.get(value.format)
    if names is None:
        return encode_object(walk, value)
    known = walk.enter(value)
    if known is not None:
        return known
    parts = [walk.at("." + name, getattr(value, name)) for name in names]
    head = (text(class_name(type(value))), string(value.format), walk.encode(tuple(map(int, value.shape))))
    return walk.leave(value, with_attributes(walk, value, named("sparse", *head, *parts), _SPARSE_STATE))


def encode_tensor(walk: Walk, value: Any) -> bytes:
    """A Torch tensor by class, dtype, device kind, shape, ``requires_grad``, elements and attached state."""
    import torch

    if walk.classes is not None:
        walk.classes.add(type(value))
    if isinstance(value, torch.nn.Parameter):
        walk.meet(value)  # one weight in two layers is trained as one
    head = [
        text(class_name(type(value))),
        string(str(value.dtype)),
        string(value.device.type),
        string(str(value.layout)),
        walk.encode(tuple(value.shape)),
        walk.encode(bool(value.requires_grad)),
    ]
    if value.device.type == "meta":
        return walk.refuse(value, "it has no data")
    if value.grad_fn is not None:
        return walk.refuse(value, "gradients flow through it to what it was computed from; pass value.detach()")
    more = _tensor_state(walk, value, torch)
    plain = value.detach()
    if plain.layout is not torch.strided:
        plain = plain.to_dense() if not plain.is_sparse else plain.coalesce()
        if plain.is_sparse:
            parts = [walk.encode(plain.indices()), walk.encode(plain.values())]
            return named("tensor", *head, *parts, *more)
    if plain.is_quantized:
        return walk.refuse(value, "it is a quantized tensor; pass value.int_repr() and its scale")
    plain = plain.cpu().resolve_conj().resolve_neg().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy() if plain.numel() else np.empty(0, np.uint8)
    return named("tensor", *head, buffer(b"A", _bytes_of(data)), *more)


def _tensor_state(walk: Walk, value: Any, torch: Any) -> list[bytes]:
    """The other state that a task can read from a tensor, where it differs from the default."""
    more = []
    if value.grad is not None:
        more.append(named("grad", walk.at(".grad", value.grad)))
    # Hooks without their numbers, which count all hooks of the process.
    held = {name: getattr(value, name, None) for name in ("_backward_hooks", "_post_accumulate_grad_hooks")}
    more += [named(name, walk.at(f".{name}", list(hooks.values()))) for name, hooks in held.items() if hooks]
    more += [named(name) for name in ("is_conj", "is_neg", "is_inference") if getattr(value, name)()]
    if value.layout is torch.strided and not value.is_contiguous():
        more.append(named("strides", walk.encode(value.stride())))
    if value.device.index:
        more.append(named("device", integer(value.device.index)))
    state = {name: part for name, part in attributes_of(value, type(value)).items() if name != "_backward_hooks"}
    if state:
        more.append(named("attributes", walk.at(".__dict__", dict(sorted(state.items())))))
    return more


def encode_random_state(walk: Walk, value: Any) -> bytes:
    """A generator of NumPy; the global one by its identity alone, because libraries hold it as their default."""
    from expops_prefect.fingerprint.objects import encode_object

    if value is np.random.mtrand._rand:
        if walk.classes is not None:  # those of the generator that it becomes where it is stored
            walk.classes |= {type(value), np.random.MT19937, np.ndarray}
        return named("numpy.random")
    return encode_object(walk, value)


def families() -> dict[type, Encoder]:
    """Encoders by base class, for the libraries that are imported."""
    found: dict[type, Encoder] = {
        np.ndarray: encode_array,
        np.generic: encode_scalar,
        np.dtype: dtype_form,
        np.ma.MaskedArray: encode_masked,
        np.random.RandomState: encode_random_state,
    }
    if sparse := sys.modules.get("scipy.sparse"):
        found[sparse.sparray] = found[sparse.spmatrix] = encode_sparse
    if torch := sys.modules.get("torch"):
        found[torch.Tensor] = encode_tensor
    return found
