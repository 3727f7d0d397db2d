"""Google's storage client: how to open it, and what its errors mean."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from expops_prefect.errors import ExpOpsPrefectError, ObjectStoreError, ObjectStoreRefusedError

_CONNECTIONS: Final = 32
_ROLE: Final = "give the service account the role Storage Object Admin on the bucket"
_LOGIN: Final = "set credentials_json in the configuration, or run: gcloud auth application-default login"
_KEY_FILE: Final = "make a new key for the service account and set credentials_json to its JSON file"
_QUERY: Final = re.compile(r"\?[^\s'\")]*")
_SESSION: Final = "upload_id="
"""Part of the address of an upload session, with which anybody can write."""


class Connection:
    """A client that is opened on first use.

    It belongs to one process: a forked child makes a connection of its own and shares neither sockets
    nor a lock that another thread of the parent held.

    Args:
        gcp_project: the Google Cloud project; ``None`` to take it from the credentials.
        credentials: a service account's file; ``None`` for application default credentials.
        endpoint: the URL of an emulator, which is used without credentials.
    """

    def __init__(self, gcp_project: str | None, credentials: str | None, endpoint: str | None) -> None:
        self.process = os.getpid()
        self.counting = threading.Lock()
        self.bucket_seen = False
        """Whether the bucket has answered: if so, a missing object does not mean a missing bucket."""
        self._gcp_project = gcp_project
        self._credentials = credentials
        self._endpoint = endpoint
        self._opening = threading.Lock()
        self._client: Any = None

    def client(self) -> Any:
        """The client.

        Raises:
            ObjectStoreError: the service account's file cannot be used.
        """
        client = self._client
        if client is None:
            with self._opening:
                client = self._client
                if client is None:
                    client = self._client = self._open()
        return client

    def close(self) -> None:
        """Close the client if it is open."""
        with self._opening:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client
        from requests.adapters import HTTPAdapter

        if self._endpoint is not None:
            client = Client(
                project=self._gcp_project or "emulator",
                credentials=AnonymousCredentials(),
                client_options={"api_endpoint": self._endpoint},
            )
        elif self._credentials is not None:
            project, credentials = _service_account(self._credentials)
            client = Client(project=self._gcp_project or project, credentials=credentials)
        else:
            client = Client(project=self._gcp_project)
        for scheme in ("https://", "http://"):
            # Google's default of ten connections is too few for parallel ranges from several tasks.
            client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        return client


def _service_account(file: str) -> tuple[str | None, Any]:
    """The project and the credentials in a service account's file.

    Raises:
        ObjectStoreError: it cannot be read or used.
    """
    from google.oauth2.service_account import Credentials

    try:
        info = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ObjectStoreError(f"the key file {file} cannot be read: {error.strerror}; {_KEY_FILE}") from error
    except ValueError:
        info = None
    problem = "is not a service account's key"
    if isinstance(info, dict) and info.get("type") == "service_account":
        try:
            return info.get("project_id"), Credentials.from_service_account_info(info)
        except (ValueError, TypeError, AttributeError) as error:  # which of them depends on what is broken
            problem = f"holds a service account's key that cannot be used ({type(error).__name__})"
    # The cause is left out on purpose: those exceptions hold the file's content.
    raise ObjectStoreError(f"the key file {file} {problem}; {_KEY_FILE}")


@contextmanager
def translated(verb: str, place: str) -> Iterator[None]:
    """Translate the errors of Google's libraries.

    Args:
        verb: the operation, for the message.
        place: its object, for the message.

    Raises:
        ObjectStoreError: what went wrong and what to do.
    """
    import google.auth.exceptions
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    foreign = (
        GoogleAPIError,
        google.auth.exceptions.GoogleAuthError,
        requests.RequestException,
        DataCorruption,
        InvalidResponse,
        OSError,
        ValueError,
    )
    try:
        yield
    except ExpOpsPrefectError:
        raise
    except foreign as error:
        cause = None if _mentions_session(error) else error
        kind = ObjectStoreRefusedError if _is_final(error) else ObjectStoreError
        raise kind(f"cannot {verb} {place}: {_explanation(error)}") from cause


def _is_final(error: BaseException) -> bool:
    """Whether the call will fail again until somebody changes something."""
    import google.auth.exceptions as auth
    from google.api_core import exceptions

    denied = (exceptions.Forbidden, exceptions.Unauthorized, exceptions.NotFound, auth.DefaultCredentialsError)
    return isinstance(error, denied)


def _mentions_session(error: BaseException | None) -> bool:
    while error is not None:
        if _SESSION in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _explanation(error: BaseException) -> str:
    """What a foreign error means and what to do; leaves out text that could hold a credential."""
    import google.auth.exceptions as auth
    import requests
    from google.api_core import exceptions
    from google.cloud.storage.exceptions import DataCorruption

    if isinstance(error, exceptions.RetryError):
        last = error.cause or error
        code = getattr(last, "code", None) or getattr(getattr(last, "response", None), "status_code", None)
        if code is not None:
            return f"Google Cloud Storage still answers {int(code)} after several tries; try again later"
        return f"Google Cloud Storage cannot be reached ({type(last).__name__}); check the network"
    if isinstance(error, requests.RequestException | auth.TransportError):
        return f"Google Cloud Storage cannot be reached ({type(error).__name__}); check the network"
    if isinstance(error, auth.DefaultCredentialsError):
        return f"no usable Google credentials were found; {_LOGIN}"
    if isinstance(error, auth.RefreshError | exceptions.Unauthorized):
        return f"the credentials are expired or revoked; {_KEY_FILE}, or run: gcloud auth application-default login"
    if isinstance(error, auth.GoogleAuthError):
        return f"the credentials cannot be used ({type(error).__name__}); {_LOGIN}"
    if isinstance(error, exceptions.Forbidden) and "billing" in str(error).lower():
        return "the bucket's project has no billing; switch it on in the Google Cloud console"
    if isinstance(error, exceptions.Forbidden):
        return f"permission denied; {_ROLE}"
    if isinstance(error, exceptions.NotFound):
        return "the bucket does not exist; create it, or correct experiment.cache.object_store.bucket"
    if isinstance(error, DataCorruption):
        return "the bytes arrived with another checksum than the bucket's; try again, and check proxies on the way"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; check the local folder of copies and its disk"
    text = " ".join(_QUERY.sub("", str(error)).split())
    return f"{type(error).__name__}: {text[:300]}"
