"""Servers that speak the protocols of S3 and of Azure Blob Storage: moto's and Azurite."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from tests.support.server import Server, clean_environment, free_port, require_program

AWS_KEYS: Final = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}
REGION: Final = "eu-west-1"
ACCOUNT: Final = "devstoreaccount1"
AZURE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, which its manual prints."""
_AZURITE: Final = Path(sys.prefix) / "node/node_modules/azurite/dist/src/blob/main.js"


def start_s3_server(folder: Path) -> tuple[Server, str]:
    """Start moto's server; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.s3_server", str(port)]
    env = {**clean_environment(folder / "s3-home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    return Server(command, f"http://127.0.0.1:{port}/moto-api/", folder / "s3.log", env, shared=True), (
        f"http://127.0.0.1:{port}"
    )


def start_azure_server(folder: Path) -> tuple[Server, str]:
    """Start Azurite; the URL of its account."""
    if not _AZURITE.is_file():
        raise AssertionError("Azurite is missing; install it: make .venv/.node")
    port = free_port()
    command = [require_program("node", "apt-get install nodejs"), str(_AZURITE), "--inMemoryPersistence"]
    command += ["--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    env = clean_environment(folder / "azure-home")
    return Server(command, f"tcp://127.0.0.1:{port}", folder / "azure.log", env, shared=True), (
        f"http://127.0.0.1:{port}/{ACCOUNT}"
    )


def s3_client(endpoint: str, region: str = REGION) -> Any:
    """boto3's client of the server."""
    import boto3

    keys = {name.lower(): value for name, value in AWS_KEYS.items()}
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, **keys)


def new_s3_bucket(endpoint: str, name: str = "") -> str:
    """Make a bucket, unless there is one of that name; its name."""
    named, client = name or f"bucket-{uuid.uuid4().hex[:12]}", s3_client(endpoint)
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=named, CreateBucketConfiguration={"LocationConstraint": REGION})
    return named


def connection_string(endpoint: str, key: str = AZURE_KEY) -> str:
    """The text with which Azure's programs find the server."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"


def azure_request(endpoint: str, method: str, path: str, query: str = "", data: bytes | None = None) -> bytes:
    """The answer to a signed request.

    Args:
        endpoint: the URL of the account.
        method: of HTTP.
        path: the container and the blob, encoded.
        query: ``name=value`` of each parameter, in the order of the alphabet, separated by ``&``.
        data: a blob's new content.
    """
    date = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    if data is not None:
        headers |= {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
    length, kind = (str(len(data)) if data else "", headers.get("Content-Type", "")) if data is not None else ("", "")
    signed = [method, "", "", length, "", kind, "", "", "", "", "", ""]
    signed += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
    resource = f"/{ACCOUNT}/{ACCOUNT}/{path}"
    parameters = [urllib.parse.unquote(part).replace("=", ":", 1) for part in query.split("&") if part]
    text = "\n".join([*signed, resource, *parameters])
    signature = base64.b64encode(hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    url = f"{endpoint}/{path}{f'?{query}' if query else ''}"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def new_azure_container(endpoint: str, name: str = "") -> str:
    """Make a container, unless there is one of that name; its name."""
    named = name or f"container-{uuid.uuid4().hex[:12]}"
    try:
        azure_request(endpoint, "PUT", named, "restype=container")
    except urllib.error.HTTPError as error:
        if error.code != 409:  # exists already
            raise
    return named
