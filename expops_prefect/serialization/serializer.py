"""The serializer that Prefect calls.

Prefect finds serializers by name among the imported classes, so every decorator imports this class. Its
implementation (:mod:`expops_prefect.serialization.envelope`) is imported by the first call.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.serializers import Serializer
from pydantic import Field, PrivateAttr

from expops_prefect.serialization import SPILL_BYTES


class ExpOpsSerializer(Serializer):  # type: ignore[type-arg, unused-ignore]  # Prefect dispatches on the bare class
    """Serializes results as a manifest with payloads.

    On its own it writes self-contained text, so it may be used with any storage.

    Example:
        ```python
        @task(persist_result=True, result_serializer=ExpOpsSerializer())
        def load() -> pd.DataFrame: ...
        ```
    """

    type: str = Field(default="expops", frozen=True)
    detached: bool = Field(
        default=False,
        description="Store large parts separately from the text, for ExpOpsResultStorage. Set by the cache policy "
        "together with that storage; any other storage would lose them.",
    )
    spill_bytes: int = Field(
        default=SPILL_BYTES, ge=1, description="Parts of at least this size (bytes) are stored separately."
    )
    uri_prefix: str = Field(
        default="",
        description="The prefix of references to payloads: empty for paths relative to the cache folder, "
        "or gs://bucket/project/cache/.",
    )

    # The project's root, to which paths of data files are relative; Prefect keeps it nowhere.
    _root: Path | None = PrivateAttr(default=None)

    def dumps(self, obj: Any) -> bytes:
        """Serialize a result; if ``detached``, into an envelope for our storage.

        Raises:
            ResultNotStorableError: it cannot be pickled; if ``detached``, the envelope contains the error instead.
        """
        from expops_prefect.serialization import envelope

        if self.detached:
            return envelope.enclose(obj, spill_bytes=self.spill_bytes, uri_prefix=self.uri_prefix, root=self._root)
        return envelope.as_text(obj)

    def loads(self, blob: bytes) -> Any:
        """Load the output of :meth:`dumps`.

        Raises:
            FormatError: ``blob`` is something else.
            IntegrityError: it is damaged, or a payload is missing.
        """
        from expops_prefect.serialization.envelope import opened

        return opened(blob)
