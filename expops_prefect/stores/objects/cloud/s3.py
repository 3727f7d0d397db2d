"""S3, and servers that speak its protocol."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.cloud.service import Service

_REGION: Final = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_LIFE: Final = timedelta(minutes=10)
"""After this time boto3 is asked again; it renews credentials before they expire."""
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_WRONG_KEY: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})


@dataclass(frozen=True)
class S3(Service):
    """A bucket.

    Attributes:
        region: its region.
        profile: the profile of AWS' shared files whose credentials are used.
        credentials_file: a file in the form of ``~/.aws/credentials``, in its place.
        shared_file: AWS' own, if there is one and the environment has no credentials. With neither a profile nor a
            file, obstore looks in the environment, then asks the container or the machine.
    """

    title: ClassVar[str] = "S3"
    noun: ClassVar[str] = "bucket"
    scheme: ClassVar[str] = "s3"
    needs: ClassVar[str] = "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
    tags_are_unique: ClassVar[bool] = False
    copies_onto_itself: ClassVar[bool] = False

    region: str | None = None
    profile: str | None = None
    credentials_file: Path | None = None
    shared_file: Path | None = None

    def login(self) -> str:
        """See :meth:`Service.login`."""
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or credentials_file or profile in the configuration, "
            "or give the machine a role"
        )

    def _client(self, options: dict[str, Any]) -> Any:
        from obstore.store import S3Store

        given, region = self._credentials()
        found = self.region or region
        if found:
            given["region"] = found
        if self.endpoint:
            # This one precedes a server that the environment names.
            given["aws_endpoint_url_s3"] = self.endpoint
        return S3Store(self.bucket, **options, **given)

    def _credentials(self) -> tuple[dict[str, Any], str | None]:
        """Options of obstore with credentials, none if it finds them by itself; and the region that comes with them."""
        if self.credentials_file is not None:
            return _keys_of(self.credentials_file, self.profile or "default"), None
        if self.profile is None and self.shared_file is None:
            return {}, None
        if find_spec("boto3") is not None:
            return _of_boto3(self.profile)
        if self.shared_file is not None:
            return _keys_of(self.shared_file, self.profile or "default"), None
        raise ObjectStoreError(f"the profile {self.profile} needs boto3: pip install boto3")

    def explained(self, status: int | None, code: str, text: str) -> tuple[str, bool] | None:
        """See :meth:`Service.explained`."""
        region = _REGION.search(text)
        if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"} or (
            status == 301 or "redirect without LOCATION" in text
        ):
            right = f": set region to {region[1] or region[2]}" if region else "; set region to the bucket's"
            return f"the bucket is in another region{right}", True
        if code in _EXPIRED:
            return "the credentials have expired; renew them, for example with: aws sso login", True
        if code in _WRONG_KEY:
            return f"the access key or its secret is not valid; {self.login()}", True
        if code == "RequestTimeTooSkewed":
            return "the clock of this machine is wrong; set it", False
        if code == "NotImplemented":
            return "the server does not know conditional writes, which the store needs; use a newer one", True
        if "169.254.169.254" in text or "169.254.170" in text:
            return f"no AWS credentials were found; {self.login()}", True
        return None


def _keys_of(file: Path, profile: str) -> dict[str, Any]:
    """The static keys of a profile.

    Raises:
        ObjectStoreError: the file cannot be read, or has none.
    """
    parsed = configparser.ConfigParser(interpolation=None)
    problem = ""
    try:
        parsed.read_string(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (configparser.Error, ValueError):
        problem = "is not in the form of ~/.aws/credentials"
    if problem:  # outside of the handler: those errors hold the file's content
        raise ObjectStoreError(f"the credentials file {file} {problem}")
    found = parsed[profile] if parsed.has_section(profile) else {}
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    given = {name.removeprefix("aws_"): found[name] for name in names if name in found}
    if not {"access_key_id", "secret_access_key"} <= given.keys():
        more = "" if find_spec("boto3") else "; for a profile with a role or a single sign-on: pip install boto3"
        raise ObjectStoreError(
            f"the credentials file {file} has no aws_access_key_id and aws_secret_access_key in its section "
            f"[{profile}]{more}"
        )
    return given


def _of_boto3(profile: str | None) -> tuple[dict[str, Any], str | None]:
    """A provider that asks boto3, which knows all of AWS' ways; and the profile's region.

    Raises:
        ObjectStoreError: boto3 finds no credentials.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    problem, found, session = "has no credentials", None, None
    try:
        session = boto3.Session(profile_name=profile)
        found = session.get_credentials()
    except BotoCoreError as error:
        problem = f"cannot be used ({type(error).__name__})"
    if found is None or session is None:
        raise ObjectStoreError(f"the profile {profile or 'default'} of AWS' shared files {problem}; run: aws configure")
    credentials = found

    def provider() -> dict[str, Any]:
        now = credentials.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(timezone.utc) + _LIFE,
        }

    return {"credential_provider": provider}, session.region_name
