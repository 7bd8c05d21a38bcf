"""`opentelemetry-instrument asynq worker`: traces without a line in the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asynq import Client, Task

pytest.importorskip("opentelemetry.distro")

APP = """
import asynq
mux = asynq.ServeMux()
@mux.handler("t")
async def handle(ctx, task):
    await ctx.client.enqueue(asynq.Task("u"), queue="later")
"""
ENVIRONMENT = {
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_is_traced_from_outside(tmp_path: Path, processes: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Client(f"sqlite:///{tmp_path}/tasks.db") as client:
        client.enqueue(Task("t"))
    command = [
        *("opentelemetry-instrument", "asynq", "worker", "app:mux", "--burst"),
        *("--processes", processes, "--broker", f"sqlite:///{tmp_path}/tasks.db"),
    ]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    ended = subprocess.run(
        command,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    names = re.findall(r'"name": "((?:send|process) [^"]+)"', ended.stdout)
    assert sorted(names) == ["process default", "send later"]
