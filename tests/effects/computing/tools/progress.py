"""A progress bar such as those that people paste from elsewhere."""

import sys
import time


def tracked(items, width=20):
    """Yield the items, and draw a bar."""
    items = list(items)
    started = time.time()
    for number, item in enumerate(items, 1):
        yield item
        done = width * number // len(items)
        rate = number / max(time.time() - started, 1e-9)
        sys.stderr.write(f"\r[{'#' * done:{width}}] {rate:.1f}/s")
        sys.stderr.flush()
    sys.stderr.write("\n")
