"""Remove an object only if nobody has written or refreshed it since, without the service's help.

Neither service lets obstore say "remove it if it is still this one". So the remover (R) announces itself with a
marker, an object under a name that no listing shows, and a writer (W: a put, a refresh, a creation that finds
the object there) looks for the marker after it has written:

    R: write the marker, unless there is one · stat the object · remove it if its stamp is the same · remove the marker
    W: write the object · wait until there is no marker · stat the object, and write again if it is gone

Whatever the order:

- W writes before R's stat: R sees another stamp, and the object stays.
- W writes after R's removal: the object stays, because R removes once and does not repeat the request.
- W writes in between: R's marker is older than that. W's look finds the marker and waits, or the marker is gone,
  and so is R's removal past. In both cases W's stat comes after the removal and finds nothing.

W must look for the marker first and for the object second; the other way round, R could remove it in between. Only
one R at a time has the marker: it is written on the condition that there is none.

A marker lives for :data:`LIFE` seconds. R asks for the removal within :data:`PROMPT` seconds after it began, in one
request that has less than the rest to end and is not repeated. If R does not know how that ended, it leaves the marker.
Who has seen the same marker for :data:`LIFE` seconds, or finds one that is older than :data:`FORGOTTEN`, replaces it on
the condition that it is still that one, and removes it. What remains: R is suspended between its look at the clock and
its request for longer than all that. And a third process that sees the object as young between W's write and R's
removal, and refers to it, loses the object if W is killed before it writes again; the result is then computed again.

The stamp of S3 has its time to a second and depends on nothing else but the bytes. Two writes of the same bytes in one
second look the same. A refresh waits until its stamp differs; a garbage collection leaves younger objects alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

PROMPT: Final = 10.0
LIFE: Final = 60.0
FORGOTTEN: Final = 3600.0
_PAUSES: Final = (0.05, 1.0)


class Marker:
    """The marker of one object.

    Args:
        name: its name in the bucket.
        write: writes it: takes the name, a text, and the entity tag of the marker to replace, ``None`` if there must be
            none; returns whether it could.
        look: returns obstore's description of it, or ``None``.
        remove: removes it.
        life: seconds after which a marker means nothing.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[str, bytes, str | None], bool],
        look: Callable[[str], Any],
        remove: Callable[[str], None],
        life: float = LIFE,
    ) -> None:
        self._name = name
        self._write = write
        self._look = look
        self._remove = remove
        self._life = life

    @contextmanager
    def announced(self) -> Iterator[Callable[[], bool] | None]:
        """Announce a removal while the block runs.

        Yields:
            Whether there is still time to remove the object; ``None`` if another process is about to.
        """
        began = time.monotonic()
        if not self._write(self._name, secrets.token_bytes(16), None):
            self._drop_if_forgotten()
            yield None
            return
        yield lambda: time.monotonic() - began < PROMPT
        if time.monotonic() - began < self._life:  # otherwise it may be another's by now
            self._remove(self._name)

    def wait(self) -> None:
        """Return when no process is about to remove the object."""
        pause, longest = _PAUSES
        seen, since = None, 0.0
        while (found := self._look(self._name)) is not None:
            if found["e_tag"] != seen:
                seen, since = found["e_tag"], time.monotonic()
            if time.monotonic() - since >= self._life or _age(found) > FORGOTTEN:
                self._drop(found)
                continue
            time.sleep(pause)
            pause = min(pause * 2, longest)

    def _drop_if_forgotten(self) -> None:
        found = self._look(self._name)
        if found is not None and _age(found) > FORGOTTEN:
            self._drop(found)

    def _drop(self, found: Any) -> None:
        if self._write(self._name, secrets.token_bytes(16), found["e_tag"]):
            self._remove(self._name)


def _age(found: Any) -> float:
    modified: float = found["last_modified"].timestamp()
    return time.time() - modified
