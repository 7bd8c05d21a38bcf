"""One server as a local process, in a directory of its own; it never outlives whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Replaces itself with the server, after asking the kernel to kill it when whoever started it dies: no
# server outlives a killed test run. (A preexec_fn would do the same but is unsafe beside threads.)
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the starter is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# The kernel counts the thread that started a process as its parent, so one thread starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="server-starter")


class ServerProcess:
    """Made without starting; `start` may be called again after `kill`."""

    def __init__(self, command: Sequence[str], directory: Path | None = None) -> None:
        """`command`: the executable and its arguments; {dir} stands for the server's directory."""
        self.directory = directory or Path(tempfile.mkdtemp(prefix="redis-"))
        self._command = [word.replace("{dir}", str(self.directory)) for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """False before the start and after the end, whoever ended it."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it; it may not answer yet."""
        with (self.directory / "log").open("ab") as log:
            self._process = _starter.submit(
                subprocess.Popen[bytes],
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def pause(self) -> None:
        """Stop it without closing its connections: a server that hangs."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and remove what it left."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
