"""A process that has imported Prefect, and forks one for each flow that a test runs: ``python warm.py SOCKET``.

Importing Prefect takes longer than most flows of the suite. A process that is forked off right after it is as new as
one that was started: nothing of this package, of the flow or of its environment is in it yet. It is given another
environment, another folder, other standard streams and the arguments that Python would have had.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import prefect
import prefect.flow_engine
import prefect.flows
import prefect.logging.configuration
import prefect.task_engine

_PATH = sys.path[1:]
# The thread that sends Prefect's heartbeats ends up to a second after its flow, and the flow waits for it.
prefect.flow_engine.BaseFlowRunEngine.heartbeat_seconds = None  # type: ignore[assignment]


def serve(descriptor: int) -> dict[str, Any] | None:
    """Fork for each request until nobody can send one any more.

    Args:
        descriptor: the socket, from which requests come with descriptors: where the exit status goes, then the
            standard streams.

    Returns:
        The request, in the process that was forked for it; ``None`` in the one that was started.
    """
    requests = socket.socket(fileno=descriptor)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    status_of: dict[int, int] = {}
    gc.freeze()
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(1 << 10)
            _reap(status_of)
        if requests not in ready:
            continue
        head, descriptors, _, _ = socket.recv_fds(requests, 4, 4)
        if not head:
            return None
        status, *streams = descriptors
        data = requests.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for open_one in (*streams, status, *status_of.values()):
                os.close(open_one)
            for end in (requests, woken, wake):
                end.close()
            return dict(json.loads(data))
        for stream in streams:
            os.close(stream)
        status_of[pid] = status
        requests.sendall(f"{pid}\n".encode())


def _reap(status_of: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        descriptor = status_of.pop(pid)
        os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(descriptor)


def become(arguments: list[str], folder: str, environ: dict[str, str]) -> None:
    """Be the process ``python *arguments``, started in that folder with that environment."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.dont_write_bytecode = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.orig_argv = [sys.executable, *arguments]
    sys.path[:] = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry] + _PATH
    buffering = 1 if environ.get("PYTHONUNBUFFERED") else -1
    _open_stream("stdin", 0, "r", -1, "strict")
    _open_stream("stdout", 1, "w", buffering, "strict")
    _open_stream("stderr", 2, "w", 1, "backslashreplace")
    sys.excepthook = _without_this_file
    prefect.context.refresh_global_settings_context()
    prefect.logging.configuration.PROCESS_LOGGING_CONFIG.clear()
    prefect.logging.configuration.setup_logging()
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __annotations__={})
    sys.modules["__main__"] = main
    if arguments[0] == "-m":
        sys.argv = ["-m", *arguments[2:]]
        sys.path.insert(0, folder)
        runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined]
        return
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec", dont_inherit=True), main.__dict__)
        return
    sys.argv = list(arguments)
    script = str(Path(folder, arguments[0]))
    sys.path.insert(0, str(Path(script).resolve().parent))
    main.__dict__.update(__file__=script, __cached__=None, __loader__=SourceFileLoader("__main__", script))
    exec(compile(Path(script).read_bytes(), script, "exec", dont_inherit=True), main.__dict__)


def _open_stream(name: str, descriptor: int, mode: str, buffering: int, errors: str) -> None:
    stream = open(descriptor, mode, buffering, errors=errors, closefd=False)  # noqa: SIM115 - as long as the process
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _without_this_file(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    _asked = serve(int(sys.argv[1]))
    _first = sys.modules["__main__"]  # this module's names are needed for as long as its functions run
    if _asked is not None:
        become(_asked["arguments"], _asked["folder"], _asked["environ"])
