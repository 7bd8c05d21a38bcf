"""Where the program of a worker comes from, so that its handler processes can find the same code."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, frozen

if TYPE_CHECKING:
    from types import ModuleType

ALIAS = "__asynq_main__"
"""What a handler process calls the script its worker runs: not `__main__`, so that its guard holds."""

importing: ContextVar[bool] = ContextVar("asynq_importing", default=False)
"""True in a handler process while it imports the user's modules."""


@frozen
class Origin:
    """The module a worker runs as `__main__`; both parts are empty when it has none, as at a prompt."""

    name: str = ""
    """What a handler process imports it as."""
    path: str = ""
    """Its file, for a script, which no import would find by the name."""

    @classmethod
    def here(cls) -> Origin:
        """That of this process."""
        main = sys.modules.get("__main__")
        spec = getattr(main, "__spec__", None)
        if spec is not None:
            return cls(name=spec.name)
        path = getattr(main, "__file__", None)
        return cls(name=ALIAS, path=str(Path(path).absolute())) if path else cls()

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin `dump` wrote."""
        return cls(**json.loads(text))

    def dump(self) -> str:
        """As text, for a command line."""
        return json.dumps(asdict(self))

    def load(self) -> ModuleType:
        """The module under its other name. Imported once; ImportError, or whatever it raises."""
        if not self.path:
            return importlib.import_module(self.name)
        if self.name not in sys.modules:
            spec = importlib.util.spec_from_file_location(self.name, self.path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{self.path} is not a module that can be imported")
            module = sys.modules[self.name] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[self.name]
                raise
        return sys.modules[self.name]
