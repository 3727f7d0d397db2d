"""NumPy arrays as ``.npz`` files that ``numpy.load`` reads and that can be mapped into memory.

The file is a ZIP archive (always in its 64-bit form) with one uncompressed member, ``data.npy``. An
extra field pads the local header to 64 bytes, and the length of the ``.npy`` header is a multiple of
64, so the array's data are aligned to 64 bytes in the file. Every byte but the checksum follows from
dtype, shape and order, so a reader rebuilds everything around the data and compares.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization.checksums import crc32
from expops_prefect.stores.objects.base import Buffer

if TYPE_CHECKING:
    import numpy as np

SUFFIX: Final = ".npz"

_ALIGNMENT: Final = 64
_KINDS: Final = frozenset("biufcmMSU")
_NAME: Final = b"data.npy"
_VERSION: Final = 45  # of the ZIP format: the first with 64-bit sizes
_DATE: Final = 0x21  # 1980-01-01: the content alone decides the digest
_IN_EXTRA: Final = 0xFFFFFFFF
_CRC_AT: Final = 14


def is_plain(value: Any) -> bool:
    """Whether a value is exactly an ``ndarray`` whose dtype a ``.npy`` header describes in full.

    This excludes object and record dtypes, subclasses, and third-party dtypes.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return False
    dtype = value.dtype
    if dtype.kind not in _KINDS or dtype.metadata is not None or not value.nbytes:
        return False
    return bool(numpy.dtype(dtype.str) == dtype)


def encode(array: np.ndarray) -> tuple[dict[str, object], list[Buffer]]:
    """Describe an array and lay it out as a file, without a copy if it is contiguous in either order.

    Args:
        array: an array for which :func:`is_plain` is true.

    Returns:
        What :func:`decode` needs, and the file's parts.
    """
    import numpy as np

    if array.flags.c_contiguous or not array.flags.f_contiguous:
        order, flat = "C", np.ascontiguousarray(array).reshape(-1)
    else:
        order, flat = "F", array.T.reshape(-1)
    # As bytes, because a memoryview has no format for datetimes.
    data: memoryview = flat.view(np.uint8).data
    fields: dict[str, object] = {
        "dtype": array.dtype.str,
        "shape": array.shape,
        "order": order,
        "writeable": array.flags.writeable,
    }
    header = _npy_header(array.dtype.str, array.shape, order)
    checksum = crc32(data, zlib.crc32(header))
    size = len(header) + data.nbytes
    return fields, [_local_header(checksum, size) + header, data, _directory(checksum, size)]


def decode(fields: dict[str, Any], buffer: memoryview) -> np.ndarray:
    """Read the array from a file of :func:`encode`; the array uses the memory of ``buffer``.

    Raises:
        IntegrityError: the file is not exactly what :func:`encode` writes for these fields.
    """
    import numpy as np

    try:
        dtype, shape, order = np.dtype(fields["dtype"]), tuple(fields["shape"]), fields["order"]
        known = type(fields["dtype"]) is str and dtype.kind in _KINDS and order in {"C", "F"}
    except (LookupError, TypeError, ValueError, SyntaxError) as error:  # SyntaxError for an invalid dtype name
        raise IntegrityError(f"not the description of a stored array: {fields!r:.200}") from error
    if not known or not all(type(n) is int and n >= 0 for n in shape):
        raise IntegrityError(f"not the description of a stored array: {fields!r:.200}")
    header = _npy_header(dtype.str, shape, order)
    length = dtype.itemsize
    for extent in shape:
        length *= extent
    start = _ALIGNMENT + len(header)
    size = len(header) + length
    checksum = int.from_bytes(buffer[_CRC_AT : _CRC_AT + 4], "little")
    if (
        start + length > len(buffer)
        or buffer[:start] != _local_header(checksum, size) + header
        or buffer[start + length :] != _directory(checksum, size)
    ):
        raise IntegrityError(f"the file is not a stored array of dtype {dtype} and shape {shape}")
    try:
        array: np.ndarray = np.ndarray(shape, dtype, buffer=buffer, offset=start, order=order)
    except (TypeError, ValueError) as error:  # too many dimensions
        raise IntegrityError(f"the file is not a stored array of dtype {dtype} and shape {shape}") from error
    if not fields["writeable"]:
        array.flags.writeable = False
    return array


def _npy_header(dtype: str, shape: tuple[int, ...], order: str) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': {order == 'F'}, 'shape': {shape!r}, }}"
    padding = -(10 + len(text) + 1) % _ALIGNMENT
    body = f"{text}{' ' * padding}\n".encode("ascii")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def _local_header(checksum: int, size: int) -> bytes:
    sizes = struct.pack("<HHQQ", 0x0001, 16, size, size)
    align = struct.pack("<HHH", 0xD935, 2, _ALIGNMENT)  # the field that zipalign writes
    fixed = struct.pack(
        "<4sHHHHHLLLHH",
        *(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE, checksum, _IN_EXTRA, _IN_EXTRA, len(_NAME), len(sizes + align)),
    )
    return fixed + _NAME + sizes + align


def _directory(checksum: int, size: int) -> bytes:
    sizes = struct.pack("<HHQQ", 0x0001, 16, size, size)
    unix = 3 << 8
    entry = struct.pack(
        "<4sHHHHHHLLLHHHHHLL",
        *(b"PK\x01\x02", unix | _VERSION, _VERSION, 0, 0, 0, _DATE, checksum, _IN_EXTRA, _IN_EXTRA),
        *(len(_NAME), len(sizes), 0, 0, 0, 0o100644 << 16, 0),
    )
    entry += _NAME + sizes
    start = _ALIGNMENT + size
    end = start + len(entry)
    wide = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, unix | _VERSION, _VERSION, 0, 0, 1, 1, len(entry), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return entry + wide + locator + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), _IN_EXTRA, 0)
