"""The configuration of the object stores in S3 and in Azure Blob Storage."""

from __future__ import annotations

import re
from abc import abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field
from typing_extensions import Self

from expops_prefect.errors import ConfigurationError, NameRefusedError
from expops_prefect.stores.objects.base import ObjectStore, check_key
from expops_prefect.stores.objects.cloud.azure import CONNECTION_STRING, Azure
from expops_prefect.stores.objects.cloud.s3 import S3
from expops_prefect.stores.objects.cloud.service import Service
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import ObjectSettings, Place

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_CONTAINER: Final = re.compile(r"[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]+")
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_PROFILE: Final = "AWS_PROFILE"
_SHARED: Final = "AWS_SHARED_CREDENTIALS_FILE"
_OWN: Final = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
"""Variables with which obstore finds credentials by itself."""
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")


class CloudSettings(ObjectSettings):
    """What both have.

    Attributes:
        prefix: folders in front of the project's id in all names.
        endpoint: the URL of another server that speaks the same protocol.
        credentials_file: a file with credentials.
    """

    is_billed: ClassVar[bool] = True

    prefix: str = ""
    endpoint: str | None = None
    credentials_file: Path | None = None

    @abstractmethod
    def service(self) -> Service:
        """The bucket or container."""

    def open(self, place: Place) -> ObjectStore:
        """See :meth:`ObjectSettings.open`."""
        if find_spec("obstore") is None:
            raise ConfigurationError(
                f"{place.config_file}: experiment.cache.object_store.type is {self.kind}, which needs the package "
                f"obstore: pip install 'expops-prefect[{self.kind}]'"
            )
        from expops_prefect.stores.objects.cloud.store import CloudObjects

        folders = f"{self.prefix}/" if self.prefix else ""
        return CloudObjects(self.service(), prefix=f"{folders}{place.project_id}/", copies=self.local_folder(place))


class S3Settings(CloudSettings):
    """``type: s3``: a bucket of S3, MinIO, R2 or Ceph, in which the names of a project's objects start with its id.

    Attributes:
        bucket: the bucket's name.
        prefix: folders in front of the project's id in all names.
        region: the bucket's region.
        endpoint: the URL of another server that speaks S3's protocol.
        profile: the profile in AWS' shared files whose credentials are used.
        credentials_file: a file in the form of ``~/.aws/credentials``, in its place.
        shared_file: AWS' own; not configured.
    """

    kind: ClassVar[str] = "s3"
    title: ClassVar[str] = "S3"
    environment: ClassVar[tuple[str, ...]] = (*_REGIONS, *_ENDPOINTS, _PROFILE, _SHARED, *_OWN)

    bucket: str
    region: str | None = None
    profile: str | None = None
    shared_file: Path | None = None

    @classmethod
    def configured(cls, section: Section) -> Self:
        """See :meth:`StoreSettings.configured`."""
        _known(section, cls)
        own = any(map(section.environment, _OWN))
        named = section.environment(_SHARED)
        shared = Path(named.value if named else "~/.aws/credentials").expanduser()
        return cls(
            bucket=_text(section, "bucket", _NAME, "the name of a bucket alone", needed=True),
            region=_text(section, "region", _REGION, "a region, such as eu-west-1", _REGIONS),
            profile=_text(section, "profile", None, "", (_PROFILE,)),
            shared_file=None if own or not shared.is_file() else shared,
            **_common(section, _ENDPOINTS),
        )

    def service(self) -> S3:
        """See :meth:`CloudSettings.service`."""
        return S3(
            self.bucket,
            endpoint=self.endpoint,
            region=self.region,
            profile=self.profile,
            credentials_file=self.credentials_file,
            shared_file=self.shared_file,
        )


class AzureSettings(CloudSettings):
    """``type: azure``: a container of Azure Blob Storage, in which the names of a project's objects start with its id.

    Attributes:
        container: the container's name.
        account: its storage account; without it, the one of the connection string.
        prefix: folders in front of the project's id in all names.
        endpoint: the URL of another server that speaks Azure's protocol.
        credentials_file: a file with a connection string.
        connection_string: that of the environment; not configured.
    """

    kind: ClassVar[str] = "azure"
    title: ClassVar[str] = "Azure Blob Storage"
    environment: ClassVar[tuple[str, ...]] = ("AZURE_STORAGE_ACCOUNT_NAME", CONNECTION_STRING)

    container: str
    account: str | None = None
    connection_string: str | None = Field(default=None, repr=False)

    @classmethod
    def configured(cls, section: Section) -> Self:
        """See :meth:`StoreSettings.configured`."""
        _known(section, cls)
        account = _text(section, "account", _ACCOUNT, "the name of a storage account", ("AZURE_STORAGE_ACCOUNT_NAME",))
        common = _common(section, ())
        given = section.environment(CONNECTION_STRING)
        if account is None and common["credentials_file"] is None and given is None:
            raise section.wrong("account", None, f"the name of a storage account; or set {CONNECTION_STRING}")
        return cls(
            container=_text(section, "container", _CONTAINER, "the name of a container alone", needed=True),
            account=account,
            connection_string=given.value if given else None,
            **common,
        )

    def service(self) -> Azure:
        """See :meth:`CloudSettings.service`."""
        return Azure(
            self.container,
            endpoint=self.endpoint,
            account=self.account,
            credentials_file=self.credentials_file,
            connection_string=self.connection_string,
        )


def _known(section: Section, cls: type[CloudSettings]) -> None:
    keys = [name for name in cls.model_fields if name not in {"shared_file", "connection_string"}]
    unknown = next((name for name in section.values if name not in keys), None)
    if unknown is not None:
        raise section.wrong(unknown, section.values[unknown], f"only {', '.join(keys)}")


def _text(
    section: Section,
    name: str,
    form: re.Pattern[str] | None,
    allowed: str,
    variables: tuple[str, ...] = (),
    *,
    needed: bool = False,
) -> Any:
    """A text of the section, or of the environment if the section has none."""
    given = (section.get(name), *map(section.environment, variables))
    found = next((setting for setting in given if setting is not None), None)
    if found is None:
        if needed:
            raise section.wrong(name, None, allowed)
        return None
    if form is not None and not form.fullmatch(found.value):
        raise found.wrong(allowed)
    return found.value


def _common(section: Section, endpoints: tuple[str, ...]) -> dict[str, Any]:
    endpoint = _text(section, "endpoint", None, "", endpoints)
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or "@" in parts.netloc:
            raise section.wrong("endpoint", endpoint, "a URL, such as http://minio.example:9000, without a password")
    prefix = (_text(section, "prefix", None, "") or "").strip("/")
    try:
        if prefix:
            check_key(prefix)
    except NameRefusedError as error:
        raise section.wrong("prefix", prefix, f"folders, such as team/experiments; {error}") from None
    file = section.get("credentials_file")
    return {
        "endpoint": endpoint.rstrip("/") if endpoint else None,
        "prefix": prefix,
        "credentials_file": file.below(section.root) if file else None,
    }
