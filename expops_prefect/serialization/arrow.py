"""Arrow IPC files in memory, without copies in either direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization import bounds
from expops_prefect.serialization.ipc import refuse_compressed
from expops_prefect.stores.objects.base import Buffer

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX: Final = ".arrow"


class _Parts:
    """A file in memory that keeps the written parts; columns arrive as views of their own memory."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[Buffer] = []
        self._size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.parts.append(view)
        self._size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def close(self) -> None:
        """Do nothing: the parts are kept."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def write(table: pa.Table | pa.RecordBatch) -> list[Buffer]:
    """The parts of an IPC file; uncompressed, so that a mapped file can be used in place."""
    import pyarrow as pa

    sink = _Parts()
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        writer.write(table)
    return sink.parts


def read(view: memoryview) -> pa.Table:
    """The table of an IPC file whose bytes were verified; it uses the memory of ``view``.

    Raises:
        IntegrityError: it is not an IPC file, its offsets are wrong, or it is compressed.
    """
    import pyarrow as pa

    refuse_compressed(view)
    try:
        table = pa.ipc.open_file(pa.py_buffer(view)).read_all()
        table.validate()
        bounds.check(table)
    except (pa.ArrowException, OSError, MemoryError, OverflowError) as error:
        raise IntegrityError(f"the file is not a stored table: {error}") from error
    return table
