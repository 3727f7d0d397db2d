"""Programs outside Python that the suite starts: ``python -m tests.support.tools`` before it.

Installs what is missing where it may, as root on Debian or into a Google Cloud SDK of one's own, and
names the rest with what to do. The suite fails by itself if one is missing; this says so before
anything else has run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.emulators import _find_emulator
from tests.support.redis_server import ADVICE


@dataclass(frozen=True)
class Tool:
    """A program, and how to get it.

    Attributes:
        name: what it is.
        found: whether it is there.
        advice: what to do if it is not.
        package: the Debian package that has it.
        command: another way to install it.
    """

    name: str
    found: Callable[[], bool]
    advice: str
    package: str
    command: Sequence[str] = ()


def java_found() -> bool:
    """Whether there is a Java that the emulator runs on."""
    if shutil.which("java") is None:
        return False
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', told.stderr + told.stdout)
    return version is not None and int(version[1]) >= 11


def node_found() -> bool:
    """Whether there is a node that the listener SDK runs on."""
    if shutil.which("node") is None:
        return False
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)", told.stdout)
    return version is not None and int(version[1]) >= 18


def emulator_found() -> bool:
    """Whether there is a Firestore emulator, running or to be started."""
    return bool(os.environ.get("FIRESTORE_EMULATOR_HOST")) or _find_emulator() is not None


TOOLS = (
    Tool("git", lambda: shutil.which("git") is not None, "apt-get install git", "git"),
    Tool(
        "Java 11 or newer, for the Firestore emulator",
        java_found,
        "apt-get install default-jre-headless",
        "default-jre-headless",
    ),
    Tool(
        "the Firestore emulator",
        emulator_found,
        "install the Google Cloud SDK, then: gcloud components install cloud-firestore-emulator; or, with Google's "
        "package source: apt-get install google-cloud-cli-firestore-emulator",
        "google-cloud-cli-firestore-emulator",
        ("gcloud", "components", "install", "--quiet", "cloud-firestore-emulator"),
    ),
    Tool("Redis", lambda: shutil.which("redis-server") is not None, ADVICE, "redis-server"),
    Tool("Node.js 18 or newer, for ExpOps' listener SDK", node_found, "apt-get install nodejs", "nodejs"),
    Tool("npm", lambda: shutil.which("npm") is not None, "apt-get install npm", "npm"),
    Tool(
        "Chromium, in which both UIs are looked at",
        lambda: shutil.which("chromium") is not None,
        "apt-get install chromium",
        "chromium",
    ),
)


def install(tool: Tool) -> bool:
    """Try what may be tried; whether the program is there afterwards."""
    attempts = [tool.command] if tool.command else []
    if os.geteuid() == 0:
        by_apt = ("apt-get", "install", "--yes", "--no-install-recommends", tool.package)
        # A fresh machine has no lists of packages, or old ones.
        attempts += [by_apt, ("apt-get", "update"), by_apt]
    for command in attempts:
        if shutil.which(command[0]) is not None:
            print(f"{tool.name} is missing, trying: {' '.join(command)}", flush=True)
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if tool.found():
                return True
    return False


def main() -> int:
    """Check all of them; 1 if one is missing."""
    missing = [tool for tool in TOOLS if not tool.found() and not install(tool)]
    for tool in missing:
        print(f"missing: {tool.name}. To install it: {tool.advice}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
