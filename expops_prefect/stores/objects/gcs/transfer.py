"""An object's bytes on their way to a bucket and back: in few large requests, in bounded memory, checked.

Google's client does it all. What is different here is how it is asked: it would hold each piece of
an upload in memory, and read a download 8 KiB at a time, which takes longer than the network does.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from expops_prefect.stores.objects.multi_buffer_reader import PartsReader

MULTIPART: Final = 8 << 20
"""Up to here Google's client uploads in one request, above in a session of pieces."""
PARALLEL_FROM: Final = 32 << 20
"""From here an object is downloaded in ranges side by side."""
RANGE: Final = 16 << 20
_PIECE: Final = 256 << 20
"""A round trip each; what was sent of one that fails is sent again. It is not held in memory."""
_WORKERS: Final = 8
_LONGEST_PAUSE: Final = 3.0
"""Seconds between two tries: a pause that would end after the time for all tries ends them, and Google's own grow."""
_SLOWEST: Final = 4 << 20
"""Bytes in a second for which a piece that failed is still tried again."""


def upload(blob: Any, reader: PartsReader, *, generation: int | None, timeout: float) -> None:
    """Write an object.

    Args:
        blob: where, as Google's client has it; afterwards with what the bucket says of it.
        reader: its bytes.
        generation: of the object that it replaces; 0 for none, ``None`` for any.
        timeout: seconds for one request, and for all tries of it together; longer for a large one.

    Raises:
        DataCorruption: what arrived had another checksum; nothing of it stayed.
    """
    from google.cloud.storage.exceptions import DataCorruption

    reader.seek(0)
    streamed = reader.size > MULTIPART
    expected = None
    if streamed:
        reader.stream_from(MULTIPART)
        blob.chunk_size = _PIECE
        # The bucket compares it. Google's client would ask for each piece as one `bytes`.
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
        blob: with its size, and the generation that all ranges are of.
        target: the file.
        timeout: seconds for one request, and for all tries of it together.

    Raises:
        DataCorruption: what arrived has another checksum than the bucket's.
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
    """Have an answer read whole, as it was stored: for those that may be held in memory."""
    return {"raw_download": True, "single_shot_download": True}


def retry(timeout: float) -> Any:
    """How a request is tried again, for so many seconds.

    Every write here can be repeated: the same name gets the same bytes.
    """
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_delay(initial=0.5, maximum=_LONGEST_PAUSE, multiplier=2.0).with_timeout(timeout)
