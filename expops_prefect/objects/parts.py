"""Several buffers read as one file, without joining them in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from expops_prefect.objects.base import Buffer


class PartsReader(io.RawIOBase):
    """A readable, seekable file over buffers that follow one another.

    Args:
        parts: the buffers.
    """

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self._views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        self.size = sum(view.nbytes for view in self._views)
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read again, for instance when an upload is tried again."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to so many bytes, all that are left without a number; copied once."""
        found = b"".join(self._pieces(self.size if size is None or size < 0 else size))
        self._position += len(found)
        return found

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read up to as many bytes as the buffer takes."""
        target = memoryview(buffer).cast("B")
        filled = 0
        for piece in self._pieces(target.nbytes):
            target[filled : filled + piece.nbytes] = piece
            filled += piece.nbytes
        self._position += filled
        return filled

    def _pieces(self, size: int) -> Iterator[memoryview]:
        """What follows the position, of each buffer the part that belongs to it."""
        start, left = self._position, size
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
