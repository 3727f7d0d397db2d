"""Uploads and downloads of a bucket's objects: few large requests, bounded memory, verified checksums.

Google's client does the work. Its defaults are changed: it would hold each piece of an upload in
memory, and read a download 8 KiB at a time, which is slower than the network.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from expops_prefect.stores.objects.multi_buffer_reader import PartsReader

MULTIPART: Final = 8 << 20
"""Up to this size Google's client uploads in one request, above it in a session of pieces."""
PARALLEL_FROM: Final = 32 << 20
"""From this size on an object is downloaded in parallel ranges."""
RANGE: Final = 16 << 20
_PIECE: Final = 256 << 20
"""Each piece is a round trip; one that fails is sent again. Pieces are not held in memory."""
_WORKERS: Final = 8
_LONGEST_PAUSE: Final = 3.0
"""Seconds between two attempts. Google's own pauses grow, and one that would outlast the timeout ends the attempts."""
_SLOWEST: Final = 4 << 20
"""Bytes per second that a failing piece is still allowed when it is tried again."""


def upload(blob: Any, reader: PartsReader, *, generation: int | None, timeout: float) -> None:
    """Write an object.

    Args:
        blob: Google's object for the target; it gets the bucket's metadata.
        reader: its bytes.
        generation: of the object to replace; 0 if none may exist, ``None`` for any.
        timeout: seconds for one request, and for all its attempts together; longer for a large one.

    Raises:
        DataCorruption: the checksum of what arrived differs; nothing of it was kept.
    """
    from google.cloud.storage.exceptions import DataCorruption

    reader.seek(0)
    streamed = reader.size > MULTIPART
    expected = None
    if streamed:
        reader.stream_from(MULTIPART)
        blob.chunk_size = _PIECE
        # The bucket compares it. Google's client would request each piece as one `bytes`.
        expected = blob.crc32c = base64.b64encode(reader.crc32c().to_bytes(4, "big")).decode()
    blob.upload_from_file(
        reader,
        size=reader.size,
        content_type="application/octet-stream",
        if_generation_match=generation,
        checksum=None if streamed else "crc32c",
        timeout=timeout,
        retry=retry(timeout + (min(reader.size, _PIECE) / _SLOWEST if streamed else 0)),
    )
    if streamed and blob.crc32c != expected:
        blob.delete(if_generation_match=blob.generation, timeout=timeout, retry=retry(timeout))
        raise DataCorruption(None, f"the bucket got bytes with the checksum {blob.crc32c}, not {expected}")


def download(blob: Any, target: Path, *, timeout: float) -> None:
    """Read an object into a file.

    Args:
        blob: the object, with its size and the generation that all ranges must have.
        target: the file.
        timeout: seconds for one request, and for all its attempts together.

    Raises:
        DataCorruption: the checksum of what arrived differs from the bucket's.
    """
    from google.cloud.storage import transfer_manager

    options = {**whole(), "timeout": timeout, "retry": retry(timeout)}
    if int(blob.size) < PARALLEL_FROM:
        with target.open("wb") as file:
            blob.download_to_file(file, checksum="crc32c", **options)
        return
    transfer_manager.download_chunks_concurrently(
        blob,
        str(target),
        chunk_size=RANGE,
        max_workers=_WORKERS,
        worker_type=transfer_manager.THREAD,
        download_kwargs=options,
    )


def whole() -> dict[str, bool]:
    """Options to read an answer whole, as it was stored: for objects that fit into memory."""
    return {"raw_download": True, "single_shot_download": True}


def retry(timeout: float) -> Any:
    """How to retry a request, for this many seconds.

    Every write here can be repeated: the same name always gets the same bytes.
    """
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_delay(initial=0.5, maximum=_LONGEST_PAUSE, multiplier=2.0).with_timeout(timeout)
