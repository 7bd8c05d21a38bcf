"""Go asynq is measured beside this library by `asynq bench --compare go`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asynq.bench.peers.go_peer import find_go

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(find_go() is None, reason="no Go toolchain: install Go 1.24 or later")
def test_go_is_measured_beside_python(tmp_path: Path) -> None:
    rows = "drain-50,enqueue-sync,enqueue-concurrent,pickup-p50,idle-commands"
    command = [
        sys.executable,
        "-m",
        "asynq",
        "bench",
        "--quick",
        "--rows",
        rows,
        "--compare",
        "go",
        "--json",
        "-",
    ]
    ended = subprocess.run(
        [*command, "--peers-dir", str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert ended.returncode in {0, 1}, ended.stderr
    report = json.loads(ended.stdout)
    assert report["unmeasured"] == {}
    assert {row["name"]: row["peers"]["go"]["median"] > 0 for row in report["rows"]} == dict.fromkeys(
        rows.split(","), True
    )
    assert report["systems"]["go"]["version"] == "0.26.0"
