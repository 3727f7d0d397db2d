"""Read several buffers as one file, without joining them in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from expops_prefect.stores.objects.base import Buffer

_STEP: Final = 1 << 20


class PartsReader(io.RawIOBase):
    """A readable, seekable file over consecutive buffers.

    Args:
        parts: the buffers.

    Attributes:
        size: bytes in all buffers.
    """

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self._views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        self.size = sum(view.nbytes for view in self._views)
        self._position = 0
        self._streamed: int | None = None

    def stream_from(self, size: int) -> None:
        """Return reads of more than ``size`` bytes as a :class:`Stretch`, which copies nothing."""
        self._streamed = size

    def views(self) -> list[memoryview]:
        """The buffers that are not empty, as bytes."""
        return list(self._views)

    def crc32c(self) -> int:
        """The checksum of all bytes."""
        import google_crc32c

        checksum = 0
        for piece in Stretch(self._views, 0, self.size):
            checksum = google_crc32c.extend(checksum, bytes(piece))
        return checksum

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``: a retried upload reads again."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> Any:
        """Read up to ``size`` bytes, or all that are left; copies at most once."""
        found: bytes | Stretch
        stretch = Stretch(self._views, self._position, self.size if size is None or size < 0 else size)
        streamed = self._streamed is not None and len(stretch) > self._streamed
        found = stretch if streamed else b"".join(stretch.views())
        self._position += len(found)
        return found

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read up to as many bytes as the buffer takes."""
        target = memoryview(buffer).cast("B")
        filled = 0
        for piece in Stretch(self._views, self._position, target.nbytes).views():
            target[filled : filled + piece.nbytes] = piece
            filled += piece.nbytes
        self._position += filled
        return filled


class Stretch:
    """Consecutive bytes in several buffers, as the body of a request: its length, and pieces of it.

    Args:
        views: the buffers.
        start: the offset of the first byte.
        size: the most bytes.
    """

    def __init__(self, views: Sequence[memoryview], start: int, size: int) -> None:
        self._views = views
        self._start = start
        self._size = max(0, min(size, sum(view.nbytes for view in views) - start))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Pieces small enough for a slow line to send within a timeout. Each iteration starts at the beginning."""
        for view in self.views():
            for first in range(0, view.nbytes, _STEP):
                yield view[first : first + _STEP]

    def views(self) -> Iterator[memoryview]:
        """The part of each buffer that belongs to it."""
        start, left = self._start, self._size
        for view in self._views:
            if left <= 0:
                return
            if start >= view.nbytes:
                start -= view.nbytes
                continue
            piece = view[start : start + left]
            left -= piece.nbytes
            start = 0
            yield piece
