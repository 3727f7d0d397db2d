"""``python -m tests.documents``: make the generated parts of the documents anew, and check what the site cannot."""

from __future__ import annotations

import sys

from tests.documents.checks import problems
from tests.documents.generated import renewed
from tests.documents.pages import ROOT, pages


def main() -> int:
    """Write the pages; end with 1 if a link leads nowhere or a public name is not documented."""
    for name, text in pages().items():
        fresh = renewed(name, text)
        if fresh != text:
            (ROOT / name).write_text(fresh)
            print(f"{name}: generated parts made anew")
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
