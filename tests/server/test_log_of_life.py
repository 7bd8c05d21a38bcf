"""What a program that runs a server or a scheduler is told from its start to its end."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, signal
from datetime import timedelta
import asynq

class Stop(logging.Handler):
    def emit(self, record):
        if "serving queues" in record.getMessage() or "tasks on" in record.getMessage():
            os.kill(os.getpid(), signal.SIGTERM)

logging.basicConfig(level="INFO", format="%(name)s %(message)s")
logging.getLogger().addHandler(Stop())
broker = asynq.SQLiteBroker("tasks.db")
"""


@pytest.mark.parametrize(
    ("run", "starts", "seconds"),
    [
        (
            "asynq.Server(broker, shutdown_timeout=timedelta(seconds=2.5)).run(asynq.ServeMux())",
            "asynq.server serving queues default on SQLiteBroker(",
            "2.5",
        ),
        (
            "asynq.Scheduler(broker).run()",
            "asynq.scheduler enqueuing periodic tasks on SQLiteBroker(",
            "5",
        ),
    ],
)
def test_the_log_names_the_broker_and_the_shutdown_timeout(
    run: str, starts: str, seconds: str, tmp_path: object
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM + run],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0].startswith(starts)
    assert str(tmp_path) in lines[0]
    [stop] = [line for line in lines if "shutting down" in line]
    assert f"waiting up to {seconds} s for running work; a second signal stops the wait" in stop
    assert lines[-1].endswith("closed")
