"""The project's own files: their functions, and the working folder and import path that they expect."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from expops_prefect._internal.process import of_process
from expops_prefect.config import Settings
from expops_prefect.errors import ConfigurationError
from expops_prefect.expops.bridge import core
from expops_prefect.expops.bridge.pipeline import Process, wrong


class _Imported(dict[Path, tuple[tuple[int, int], ModuleType]]):
    """The scripts of this process, with the time and size of their files: a changed one is imported again."""


class Scripts:
    """The files in ``scripts``, each imported once, and again when it has changed.

    Args:
        settings: the settings of the project.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def workplace(self) -> Iterator[None]:
        """Run in the project's root, with it and the scripts' folders on the import path, as ExpOps does."""
        root = self._settings.root
        folders = {
            str(root / str(file)).rpartition(os.sep)[0]: None for file in (self._settings.scripts or {}).values()
        }
        added = [folder for folder in (*folders, str(root)) if folder not in sys.path]
        before = Path.cwd()
        sys.path[:0] = added
        os.chdir(root)
        try:
            yield
        finally:
            os.chdir(before)
            for folder in added:
                sys.path.remove(folder)

    def function(self, process: Process) -> Callable[..., Any] | None:
        """The function of a process; ``None`` for a split without one.

        Raises:
            ConfigurationError: its file or its function does not exist, or the file cannot be imported.
        """
        found = getattr(self._module(process.script), process.function, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
        if process.splits and not process.explicit:
            return None
        file = (self._settings.scripts or {})[process.script]
        raise wrong(
            self._settings,
            f"processes.{process.name}.code",
            repr(process.function) if process.explicit else f"missing, and there is no function {process.function!r}",
            f"a function in {file}: {', '.join(_functions(self._module(process.script))) or 'none'}",
        )

    def _module(self, key: str) -> ModuleType:
        file = self._settings.root / str((self._settings.scripts or {})[key])
        try:
            status = file.stat()
        except OSError:
            raise ConfigurationError(
                f"{self._settings.config_file}: scripts.{key} is {str(file)!r}; allowed: a file"
            ) from None
        stamp = (status.st_mtime_ns, status.st_size)
        known = of_process(_Imported).get(file)
        if known is None or known[0] != stamp:
            core.install()
            known = of_process(_Imported)[file] = stamp, self._import(key, file)
        return known[1]

    def _import(self, key: str, file: Path) -> ModuleType:
        # Objects of its classes are pickled under this name, so it must be the same on every machine.
        name = re.sub(r"\W", "_", f"expops_{self._settings.project_id}_{key}")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            sys.modules.pop(name, None)
            raise ConfigurationError(f"{file} (scripts.{key}) cannot be imported: {error!r}") from error
        return module


def _functions(module: ModuleType) -> list[str]:
    found = ((name, value) for name, value in vars(module).items() if inspect.isfunction(value) and name[:1] != "_")
    return sorted(name for name, value in found if value.__module__ == module.__name__)
