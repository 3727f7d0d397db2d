"""A page in a real browser, Debian's Chromium without a screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.server import require_program, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
OUTPUT: Final = ROOT / "test-output"
"""Pictures of what the browser showed; git ignores them."""
_SCRIPT: Final = Path(__file__).with_name("browser.mjs")
_PACKAGES: Final = Path(sys.prefix) / "node"


class Page:
    """The page. Actions that fail raise."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _do(self, action: str, **given: str | int) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer.get("error")
        return answer["value"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self._do("open", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self._do("evaluate", script=script)

    def size(self, width: int, height: int) -> None:
        """Make the window this large."""
        self._do("size", width=width, height=height)

    def text(self) -> str:
        """All that can be read on the page, without the marks where a long word may be broken."""
        return str(self.evaluate("document.body.innerText")).replace("\N{ZERO WIDTH SPACE}", "")

    def hover(self, selector: str) -> None:
        """Move the mouse over an element."""
        self._do("hover", selector=selector)

    def click(self, selector: str) -> None:
        """Click on an element."""
        self._do("click", selector=selector)

    def wait_for_text(self, *texts: str) -> None:
        """Wait until all of these can be read."""
        wait_until(
            lambda: all(text in self.text() for text in texts), 60, f"the page shows {texts}", on_failure=self.text
        )

    def picture(self, name: str, *, shown_as: str | None = None) -> None:
        """Keep a picture of what is seen.

        Args:
            name: what it is called in the test's output.
            shown_as: its file's name in ``docs/``, written when the pictures of the documents are asked for.
        """
        OUTPUT.mkdir(exist_ok=True)
        path = OUTPUT / f"{name}.png"
        self._do("picture", path=str(path))
        if shown_as is not None and os.environ.get("MAKE_PICTURES"):
            (ROOT / "docs").mkdir(exist_ok=True)
            shutil.copyfile(path, ROOT / "docs" / f"{shown_as}.png")


@contextmanager
def browsing() -> Iterator[Page]:
    """Open a browser."""
    node = require_program("node", "apt-get install nodejs")
    chromium = require_program("chromium", "apt-get install chromium")
    # A module is looked for from where the script lies.
    script = _PACKAGES / "browser.mjs"
    shutil.copyfile(_SCRIPT, script)
    process = subprocess.Popen(
        [node, str(script), chromium], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_PACKAGES
    )
    try:
        yield Page(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
