"""Programs that tests start in their own processes."""

from __future__ import annotations

import os
import sys


def program_environment(**variables: str) -> dict[str, str]:
    """The environment of a Python program that imports what this process can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
