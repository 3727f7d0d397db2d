"""The Firestore database to use, how to reach it, and what its errors mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import google.auth
import grpc  # type: ignore[import-untyped, unused-ignore]
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.oauth2 import service_account

from expops_prefect.errors import KVError

_SCOPES: Final = ("https://www.googleapis.com/auth/datastore",)
_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Without this limit a channel waits for up to two minutes before it connects again.
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
_KEEPALIVE: Final = ("grpc.keepalive_time_ms", 30_000)


@dataclass(frozen=True, slots=True)
class Target:
    """The database to reach, and how. Holds no secret itself.

    Attributes:
        gcp_project: the Google Cloud project.
        database: the database in it.
        root: the path of the document that holds everything of the project.
        credentials: a service account's file, or ``None`` for the application default.
        emulator_host: ``host:port`` of an emulator, or ``None``.
    """

    gcp_project: str
    database: str
    root: str
    credentials: str | None
    emulator_host: str | None

    @property
    def resource(self) -> str:
        """The database's full name."""
        return f"projects/{self.gcp_project}/databases/{self.database}"

    @property
    def documents(self) -> str:
        """The full name of the root document."""
        return f"{self.resource}/documents/{self.root}"

    def __str__(self) -> str:
        place = f" on the emulator {self.emulator_host}" if self.emulator_host else ""
        database = "" if self.database == "(default)" else f", database {self.database}"
        return f"Firestore project {self.gcp_project}{database}{place}, {self.root}"


def transport(target: Target) -> Any:
    """A channel to Firestore or to an emulator, for one process.

    Raises:
        KVError: the credentials cannot be used.
    """
    try:
        return _transport(target)
    except (GoogleAuthError, OSError, ValueError) as error:
        raise KVError(f"cannot connect to {target}: {explain(error, target)}") from error


def _transport(target: Target) -> Any:
    if target.emulator_host:
        return FirestoreGrpcTransport(channel=grpc.insecure_channel(target.emulator_host, options=_OPTIONS))
    if target.credentials:
        credentials = service_account.Credentials.from_service_account_file(target.credentials, scopes=_SCOPES)
    else:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    channel = FirestoreGrpcTransport.create_channel(credentials=credentials, options=[_KEEPALIVE, *_OPTIONS])
    return FirestoreGrpcTransport(channel=channel)


def is_conflict(error: BaseException | None) -> bool:
    """Whether an error says that the precondition of a write did not hold."""
    if not isinstance(error, exceptions.AlreadyExists | exceptions.NotFound | exceptions.FailedPrecondition):
        return False
    return not _wrong_database(error)


def _wrong_database(error: BaseException) -> bool:
    text = str(error).lower()
    return "datastore mode" in text or ("database" in text and "does not exist" in text)


def explain(error: BaseException, target: Target) -> str:
    """Say what went wrong and what to do about it, without secrets."""
    project = target.gcp_project
    # gRPC gets the token from a plugin and reports any failure of it as a network failure.
    no_token = isinstance(error, exceptions.ServiceUnavailable) and "from plugin" in error.message
    if no_token or isinstance(error, GoogleAuthError | exceptions.Unauthenticated | OSError | ValueError):
        # Their texts may quote the credentials.
        return (
            f"no access ({type(error).__name__}). Set experiment.cache.backend.credentials_json to a service "
            "account's key file that exists and is valid, or run: gcloud auth application-default login"
        )
    text = error.message if isinstance(error, exceptions.GoogleAPICallError) else str(error)
    if isinstance(error, exceptions.PermissionDenied):
        return (
            f"{text}. Give the service account the role Cloud Datastore User (roles/datastore.user) in the "
            f"project {project}, and see that gcp_project is right and the Firestore API is enabled"
        )
    if _wrong_database(error):
        return (
            f"{text}. Make a Firestore database in Native mode in the project {project} "
            "(gcloud firestore databases create), or correct gcp_project"
        )
    if isinstance(error, exceptions.ServiceUnavailable | exceptions.DeadlineExceeded | exceptions.RetryError):
        where = "that the emulator runs" if target.emulator_host else "the network and status.cloud.google.com"
        return f"it could not be reached in time ({text}). Check {where}"
    if isinstance(error, exceptions.ResourceExhausted):
        return f"{text}. The project's quota is used up: raise it, or write less often (prefect.record.flush_seconds)"
    if isinstance(error, exceptions.InvalidArgument):
        return f"{text}. Firestore takes documents of at most 1 MiB; keep large values in the object store"
    return f"{text}. Try again; if it persists, see the project's Firestore page in the Google Cloud console"
