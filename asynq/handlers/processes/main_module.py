"""The worker's `__main__` module, made importable in its handler processes under another name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from types import ModuleType

ALIAS = "__mp_main__"
"""Name of the worker's script in a handler process: not `__main__`, so that its main guard stays false.

Processes of `multiprocessing` use the same name, so that their own children find the script too.
"""

importing: ContextVar[bool] = ContextVar("asynq_importing", default=False)
"""True in a handler process while it imports the user's modules."""


@frozen
class MainModule:
    """The module that a worker runs as `__main__`. Both fields are empty if there is none, as at a prompt."""

    name: str = ""
    """The name under which a handler process imports it."""
    path: str = ""
    """Its file, for a script, which cannot be imported by name."""

    @classmethod
    def here(cls) -> MainModule:
        """The main module of this process."""
        main = sys.modules.get("__main__")
        spec = getattr(main, "__spec__", None)
        if spec is not None:
            return cls(name=spec.name)
        path = getattr(main, "__file__", None)
        return cls(name=ALIAS, path=str(Path(path).absolute())) if path else cls()

    def load(self) -> ModuleType:
        """Import the module under its other name and install it as `__main__`.

        It is imported once. Raises what the import raises.
        """
        if self not in _loaded:
            main = sys.modules["__main__"]
            module = self._import()
            _loaded[self] = module, main
            sys.modules["__main__"] = module
        return _loaded[self][0]

    def _import(self) -> ModuleType:
        if not self.path:
            return importlib.import_module(self.name)
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.path} is not a module that can be imported")
        module = importlib.util.module_from_spec(spec)
        # multiprocessing uses this name for __main__ too.
        before = sys.modules.get(self.name)
        sys.modules[self.name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if before is None:
                del sys.modules[self.name]
            else:
                sys.modules[self.name] = before
            raise
        # multiprocessing uses the name of the spec, else the file: only the file can be found.
        module.__spec__ = None
        return module


_loaded: dict[MainModule, tuple[ModuleType, ModuleType]] = {}
"""The imported modules, each with the previous `__main__`: without a reference, its names would be
cleared."""
