"""Inspects the messages of an Arrow IPC file before Arrow reads them.

The layout is in ``File.fbs``, ``Message.fbs`` and ``Schema.fbs`` of Arrow's format; the numbers below are positions
of fields in their tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from expops_prefect.errors import IntegrityError

_MAGIC: Final = b"ARROW1"
_FOOTER_BLOCKS: Final = (2, 3)  # dictionaries, record batches
_BLOCK_BYTES: Final = 24
_CONTINUATION: Final = 0xFFFFFFFF
_MESSAGE_VERSION, _MESSAGE_HEADER_TYPE, _MESSAGE_HEADER = 0, 1, 2
_V5: Final = 4
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_DICTIONARY_DATA: Final = 1
_BATCH_COMPRESSION: Final = 3


def refuse_compressed(view: memoryview) -> None:
    """Refuse a file with a compressed part: it could expand to fill the memory, and we never write one.

    Raises:
        IntegrityError: a part is compressed, or the file is not in Arrow's current format.
    """
    try:
        plain = all(_is_plain(view, offset) for offset in _batches(view))
    except struct.error as error:
        raise IntegrityError(f"the file is not a stored table: {error}") from error
    if not plain:
        raise IntegrityError("the file is not a stored table: its parts are compressed, or of another format")


def _batches(view: memoryview) -> Iterator[int]:
    """The offsets of the messages that contain values."""
    if bytes(view[-len(_MAGIC) :]) != _MAGIC:
        raise IntegrityError("the file is not a stored table: it has no end")
    end = view.nbytes - len(_MAGIC) - 4
    footer = _follow(view, end - _int(view, end))
    for number in _FOOTER_BLOCKS:
        place = _field(view, footer, number)
        if place is None:
            continue
        vector = _follow(view, place)
        for position in range(_int(view, vector)):
            yield _number("<q", view, vector + 4 + position * _BLOCK_BYTES)


def _is_plain(view: memoryview, offset: int) -> bool:
    """Whether a batch is as our writer writes it. Before version 5, compression could also be marked elsewhere."""
    if _number("<I", view, offset) != _CONTINUATION:
        return False
    message = _follow(view, offset + 8)
    version, kind = _field(view, message, _MESSAGE_VERSION), _field(view, message, _MESSAGE_HEADER_TYPE)
    header = _field(view, message, _MESSAGE_HEADER)
    if version is None or kind is None or header is None or _number("<h", view, version) != _V5:
        return False
    batch = _follow(view, header)
    if _number("<B", view, kind) == _DICTIONARY_BATCH:
        data = _field(view, batch, _DICTIONARY_DATA)
        return data is not None and _field(view, _follow(view, data), _BATCH_COMPRESSION) is None
    return _number("<B", view, kind) == _RECORD_BATCH and _field(view, batch, _BATCH_COMPRESSION) is None


def _field(view: memoryview, table: int, number: int) -> int | None:
    """The offset of a table's field; ``None`` if the field is absent."""
    fields = table - _int(view, table)
    entry = 4 + 2 * number
    if entry + 2 > _number("<H", view, fields):
        return None
    offset = _number("<H", view, fields + entry)
    return table + offset if offset else None


def _follow(view: memoryview, place: int) -> int:
    return place + _number("<I", view, place)


def _int(view: memoryview, place: int) -> int:
    return _number("<i", view, place)


def _number(form: str, view: memoryview, place: int) -> int:
    if place < 0:  # a negative offset would count from the end
        raise struct.error("a negative offset")
    value: int = struct.unpack_from(form, view, place)[0]
    return value
