"""Azure Blob Storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.cloud.service import Service

CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
_PARTS: Final = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}
_DENIED: Final = ("AuthorizationPermissionMismatch", "AuthorizationFailure", "InsufficientAccountPermissions")
_SIGNED_WRONGLY: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")


@dataclass(frozen=True)
class Azure(Service):
    """A container.

    Attributes:
        account: its storage account; ``None`` to take it from the credentials.
        credentials_file: a file with a connection string.
        connection_string: that of the environment.
    """

    title: ClassVar[str] = "Azure Blob Storage"
    noun: ClassVar[str] = "container"
    scheme: ClassVar[str] = "az"
    needs: ClassVar[str] = "the role Storage Blob Data Contributor on the container"
    tags_are_unique: ClassVar[bool] = True
    copies_onto_itself: ClassVar[bool] = True

    account: str | None = None
    credentials_file: Path | None = None
    connection_string: str | None = field(default=None, repr=False)

    def login(self) -> str:
        """See :meth:`Service.login`."""
        return (
            "set credentials_file in the configuration to a file with a connection string, or "
            f"{CONNECTION_STRING}, or AZURE_STORAGE_ACCOUNT_KEY, or give the machine an identity"
        )

    def _client(self, options: dict[str, Any]) -> Any:
        from obstore.store import AzureStore

        given: dict[str, Any] = self._connection_string()
        named = {"account_name": self.account, "endpoint": self.endpoint}
        given |= {name: value for name, value in named.items() if value}
        if given.get("endpoint", "").startswith("http://"):
            options["client_options"]["allow_http"] = True
        return AzureStore(self.bucket, **options, **given)

    def _connection_string(self) -> dict[str, Any]:
        """The options of obstore that a connection string holds.

        Raises:
            ObjectStoreError: it cannot be read.
        """
        text = self.connection_string or ""
        place = CONNECTION_STRING
        if self.credentials_file is not None:
            place = f"the credentials file {self.credentials_file}"
            try:
                text = self.credentials_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not text"
                raise ObjectStoreError(f"{place} cannot be read: {why}") from None
        given = {}
        for part in "".join(text.split()).split(";"):
            name, _, value = part.partition("=")
            if name.lower() in _PARTS:
                given[_PARTS[name.lower()]] = value.rstrip("/") if name.lower() == "blobendpoint" else value
        if text.strip() and not given.keys() & {"account_key", "sas_key"}:
            raise ObjectStoreError(f"{place} has no connection string with an AccountKey or a SharedAccessSignature")
        return given

    def explained(self, status: int | None, code: str, text: str) -> tuple[str, bool] | None:
        """See :meth:`Service.explained`."""
        if code in _DENIED:
            return f"permission denied; give {self.needs}, and look at the account's firewall", True
        if code in _SIGNED_WRONGLY or status == 401:
            return f"the credentials are expired or not valid; {self.login()}", True
        if code == "AccountIsDisabled":
            return "the storage account is disabled; enable it in Azure's portal", True
        if "169.254.169.254" in text:
            return f"no Azure credentials were found; {self.login()}", True
        return None
