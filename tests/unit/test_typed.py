from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec("pyright") is None, reason="pyright is not installed; tox -e types has it")
def test_pyright_accepts_the_typed_examples() -> None:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "0 errors" in checked.stdout, checked.stdout + checked.stderr
