"""Locks after a fork."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from expops_prefect._internal.process import ForkSafeLock, Parts


def test_a_forked_child_finds_its_locks_free() -> None:
    lock, taken, done = ForkSafeLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    child = os.fork()
    if child == 0:
        entered = threading.Event()

        def enter() -> None:
            with lock:
                entered.set()

        threading.Thread(target=enter, daemon=True).start()
        os._exit(0 if entered.wait(20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    # In the parent it is held as before.
    waiting = threading.Thread(target=lambda: lock.__enter__())
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    done.set()
    thread.join()
    waiting.join()


def test_a_part_is_made_once_however_many_threads_ask_for_it() -> None:
    made: list[str] = []

    class Slow:
        def __init__(self, owner: str) -> None:
            time.sleep(0.05)
            made.append(owner)

    parts = Parts("shop")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: parts(Slow), range(8)))
    assert made == ["shop"]
    assert len(set(map(id, found))) == 1
