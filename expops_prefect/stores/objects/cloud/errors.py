"""Errors of obstore, translated. Its texts hold addresses, signatures and keys: none of them is passed on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from expops_prefect.errors import ExpOpsPrefectError, ObjectStoreError, ObjectStoreRefusedError
from expops_prefect.stores.objects.cloud.service import Service

_STATUS: Final = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_REASONS: Final = {"Timeout": "timed out", "dns error": "unknown host", "certificate": "certificate"}
_RETRIED: Final = re.compile(r"after (\d+) retries")


@contextmanager
def translated(service: Service, verb: str, place: str) -> Iterator[None]:
    """Translate the errors of obstore and of files.

    Args:
        service: the bucket or container.
        verb: the operation, for the message.
        place: its object, for the message.

    Raises:
        ObjectStoreError: what went wrong and what to do.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except ExpOpsPrefectError:
        raise
    except OSError as error:
        if error.errno is None:  # obstore's own, for what is not there
            raise _translation(service, verb, place, error) from error
        where = "check the local folder of copies and its disk"
        raise ObjectStoreError(f"cannot {verb} {place}: {error.strerror}; {where}") from error
    except (BaseError, ValueError, NotImplementedError) as error:
        raise _translation(service, verb, place, error) from error


def _translation(service: Service, verb: str, place: str, error: Exception) -> ObjectStoreError:
    text = str(error)
    status, code = (found[1] or found[2] if (found := _STATUS.search(text)) else None), _CODE.search(text)
    number, name = int(status) if status else None, code[1] if code else ""
    meaning, final = service.explained(number, name, text) or _meaning(service, number, name, text)
    # The cause shows in tracebacks.
    error.args = (f"{number or 'no answer'} {name}".strip(),)
    kind = ObjectStoreRefusedError if final else ObjectStoreError
    return kind(f"cannot {verb} {place}: {meaning}")


def _meaning(service: Service, status: int | None, code: str, text: str) -> tuple[str, bool]:
    """What an error means, and whether it stays until somebody changes something."""
    if status == 404 or code in {"NoSuchBucket", "ContainerNotFound"}:
        advice = f"create it, or correct experiment.cache.object_store.{service.noun}"
        return f"the {service.noun} does not exist; {advice}", True
    if status in {401, 403}:
        return f"permission denied ({code or status}); allow {service.needs}", True
    if status is not None and (status >= 500 or status == 429):
        again = " after several tries" if _RETRIED.search(text) else ""
        return f"{service.title} still answers {status}{again}; try again later", False
    if status is not None:
        return f"{service.title} answers {status} {code}".rstrip(), False
    if "Generic" in text or "error sending request" in text:
        why = next((f" ({word})" for sign, word in _REASONS.items() if sign in text), "")
        return f"{service.title} cannot be reached{why}; check the network and the endpoint", False
    return "obstore does not say why", False
