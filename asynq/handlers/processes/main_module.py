"""Where the program of a worker comes from, so that its handler processes can find the same code."""

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
"""What a handler process calls the script its worker runs: not `__main__`, so that its guard holds.

As in processes of `multiprocessing`, whose own processes then find the script too."""

importing: ContextVar[bool] = ContextVar("asynq_importing", default=False)
"""True in a handler process while it imports the user's modules."""


@frozen
class MainModule:
    """The module a worker runs as `__main__`; both parts are empty when it has none, as at a prompt."""

    name: str = ""
    """What a handler process imports it as."""
    path: str = ""
    """Its file, for a script, which no import would find by the name."""

    @classmethod
    def here(cls) -> MainModule:
        """That of this process."""
        main = sys.modules.get("__main__")
        spec = getattr(main, "__spec__", None)
        if spec is not None:
            return cls(name=spec.name)
        path = getattr(main, "__file__", None)
        return cls(name=ALIAS, path=str(Path(path).absolute())) if path else cls()

    def load(self) -> ModuleType:
        """The module under its other name, and as `__main__`. Imported once; raises what importing raises."""
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
        # multiprocessing gives __main__ this name too.
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
        # multiprocessing goes by the name of the spec, else by the file: only the file can be found.
        module.__spec__ = None
        return module


_loaded: dict[MainModule, tuple[ModuleType, ModuleType]] = {}
"""What was loaded, and what was `__main__` before: without it the names that it defines would be gone."""
