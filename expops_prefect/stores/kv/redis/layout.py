"""Where each KV key is kept in Redis: ExpOps' keys, and this package's beside them. Pure functions.

``mlops:projects:<project>:<key>``
    the value as JSON text, as ExpOps' own adapter has it
``mlops:projects:<project>:runs:<run>:status``
    the word itself, without quotes
``mlops:projects:<project>:runs:<run>:stats``
    a hash of all counters of a run
``expops_prefect:keys:<project>``
    a sorted set of all keys: Redis itself finds keys with a prefix only by looking at every key of the database
``expops_prefect:tokens:<project>:<key>``
    the additions that were made to a counter
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.encoding import check_key, dump, load

_STAT: Final = re.compile(r"(runs:[^:]+:stats):(.+)", re.DOTALL)
_STATS: Final = re.compile(r"runs:[^:]+:stats")
_STATUS: Final = re.compile(r"runs:[^:]+:status")
_OWN: Final = "expops_prefect_key:"


@dataclass(frozen=True, slots=True)
class Slot:
    """The location of a key.

    Attributes:
        key: the KV key.
        name: the key in Redis.
        field: the field of the hash there; empty for a text.
    """

    key: str
    name: str
    field: str = ""


class Layout:
    """The locations of a project's keys.

    Args:
        project_id: the project.
    """

    def __init__(self, project_id: str) -> None:
        self.prefix = f"mlops:projects:{project_id}:"
        self.index = f"expops_prefect:keys:{project_id}"
        self.tokens_prefix = f"expops_prefect:tokens:{project_id}:"

    def slot(self, key: str) -> Slot:
        """The location of a key.

        Raises:
            KVRefusedError: the key is not text that UTF-8 can express.
        """
        stat = _STAT.fullmatch(check_key(key))
        if stat is not None:
            return Slot(key, self.prefix + stat[1], stat[2])
        # The name of a hash, which holds no text.
        return Slot(key, self.prefix + (_OWN + key if _STATS.fullmatch(key) else key))


def to_text(key: str, value: JSON) -> str:
    """A value as it is stored.

    Raises:
        KVRefusedError: it is not a JSON value.
    """
    text = dump(value)
    plain = isinstance(value, str) and _STATUS.fullmatch(key) and not _is_json(value)
    return str(value) if plain else text


def from_text(key: str, stored: bytes) -> JSON:
    """A value from what is stored.

    Raises:
        KVDamagedError: it is not JSON.
    """
    text = stored.decode(errors="surrogateescape")
    return text if _STATUS.fullmatch(key) and not _is_json(text) else load(key, text)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
