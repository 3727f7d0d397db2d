"""Several buffers read as one file, without joining them in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence

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

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read up to as many bytes as the buffer takes."""
        target = memoryview(buffer).cast("B")
        start, filled = self._position, 0
        for view in self._views:
            if start >= view.nbytes:
                start -= view.nbytes
                continue
            piece = view[start : start + target.nbytes - filled]
            target[filled : filled + piece.nbytes] = piece
            filled += piece.nbytes
            start = 0
            if filled == target.nbytes:
                break
        self._position += filled
        return filled
