"""Locks after a fork."""

from __future__ import annotations

import os
import threading

from expops_prefect._internal.process import ForkSafeLock


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
