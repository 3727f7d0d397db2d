"""Uploads and downloads of objects: few large requests, side by side, in bounded memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from expops_prefect.stores.objects.multi_buffer_reader import PartsReader

MULTIPART: Final = 16 << 20
"""Up to this size an object is uploaded in one request, whose bytes are not copied; above it in parts."""
PARALLEL_FROM: Final = 32 << 20
"""From this size on an object is downloaded in parallel ranges."""
RANGE: Final = 16 << 20
_SIDE_BY_SIDE: Final = 6
_PIECE: Final = 4 << 20
_PART: Final = 8 << 20
_MOST_PARTS: Final = 9000
_SLOWEST: Final = 256 << 10
"""Bytes per second that a request with content may be down to."""


def part_size(size: int) -> int:
    """The size of a part of an upload, each of which is held in memory. S3 takes 10,000 parts."""
    return max(_PART, -(-size // _MOST_PARTS))


def requests_of(size: int) -> int:
    """The requests of an upload."""
    return 1 if size <= MULTIPART else -(-size // part_size(size)) + 2


def ranges_of(size: int) -> int:
    """The requests of a download."""
    return 1 if size < PARALLEL_FROM else -(-size // RANGE)


def seconds(timeout: float) -> float:
    """The time that a request with content gets."""
    return timeout + RANGE / _SLOWEST


def upload(client: Any, name: str, reader: PartsReader, mode: Any) -> str:
    """Write an object; its entity tag.

    Args:
        client: of obstore.
        name: the object's name.
        reader: its bytes.
        mode: the condition, of an object that is small enough for one request.
    """
    import obstore

    if reader.size <= MULTIPART:
        parts = reader.views() or b""
        return str(obstore.put(client, name, parts, mode=mode, use_multipart=False)["e_tag"])
    reader.seek(0)
    step = part_size(reader.size)
    stored = obstore.put(client, name, reader, use_multipart=True, chunk_size=step, max_concurrency=_SIDE_BY_SIDE)
    return str(stored["e_tag"])


def download(client: Any, name: str, found: Any, target: Path) -> None:
    """Read an object into a file.

    Args:
        client: of obstore.
        name: the object's name.
        found: obstore's description of the state that all ranges must have.
        target: the file.

    Raises:
        PreconditionError: the object was written while it was read.
    """
    size = found["size"]
    step = RANGE if size >= PARALLEL_FROM else max(size, 1)
    with target.open("wb") as file, ThreadPoolExecutor(_SIDE_BY_SIDE if size > step else 1) as pool:
        os.truncate(file.fileno(), size)
        spans = [(start, min(start + step, size)) for start in range(0, size, step)]
        pieces = [pool.submit(_read, client, name, found["e_tag"], span, file.fileno()) for span in spans]
        try:
            for piece in pieces:
                piece.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read(client: Any, name: str, tag: str, span: tuple[int, int], descriptor: int) -> None:
    import obstore

    position = span[0]
    answer = obstore.get(client, name, options={"range": span, "if_match": tag})
    for piece in answer.stream(_PIECE):
        position += os.pwrite(descriptor, piece, position)
