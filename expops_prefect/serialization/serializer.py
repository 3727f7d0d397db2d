"""The serializer that Prefect calls.

Prefect finds serializers by name among what is imported, so this class is imported by every decorator,
and what it does (:mod:`expops_prefect.serialization.envelope`) by the first call.
"""

from __future__ import annotations

from typing import Any

from prefect.serializers import Serializer
from pydantic import Field

from expops_prefect.serialization import SPILL_BYTES


class ExpOpsSerializer(Serializer):  # type: ignore[type-arg, unused-ignore]  # Prefect dispatches on the bare class
    """Serializes results as a manifest with payloads.

    On its own it writes self-contained text, so it may be used with any storage::

        @task(persist_result=True, result_serializer=ExpOpsSerializer())
        def load() -> pd.DataFrame: ...
    """

    type: str = Field(default="expops", frozen=True)
    detached: bool = Field(
        default=False,
        description="Leave large parts beside the text, for ExpOpsResultStorage. Set by the cache policy together "
        "with that storage; any other storage would lose them.",
    )
    spill_bytes: int = Field(default=SPILL_BYTES, ge=1, description="From this size on a part is kept beside the text.")
    uri_prefix: str = Field(
        default="",
        description="What references to payloads start with: empty for paths relative to the cache folder, "
        "or gs://bucket/project/cache/.",
    )

    def dumps(self, obj: Any) -> bytes:
        """Serialize a result; detached, into an envelope for our storage.

        Raises:
            ResultNotStorableError: it cannot be pickled; detached, the envelope says so instead.
        """
        from expops_prefect.serialization import envelope

        if self.detached:
            return envelope.enclose(obj, spill_bytes=self.spill_bytes, uri_prefix=self.uri_prefix)
        return envelope.as_text(obj)

    def loads(self, blob: bytes) -> Any:
        """Load what :meth:`dumps` made.

        Raises:
            FormatError: ``blob`` is something else.
            IntegrityError: it is damaged, or a payload is missing.
        """
        from expops_prefect.serialization.envelope import opened

        return opened(blob)
