"""The processes of a benchmark: each has its own session and ends with the benchmark, however that ends."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from asynq.bench.errors import BenchError
from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

ANSWER_TIMEOUT = 120.0
"""Seconds that a program has for one step of a measurement."""
STOP_TIMEOUT = 10.0
"""Seconds between SIGTERM and SIGKILL."""
_LOG_TAIL = 2000

# Replaces itself with the program, after asking the kernel to kill it when the benchmark is killed.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the benchmark is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Child:
    """A running program. Its output goes to a log, or with `answers` its stdout is read by `ask`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        answers: bool = False,
    ) -> None:
        self.name = name
        self._log = log
        self._unread = b""
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
                stdin=subprocess.PIPE if answers else subprocess.DEVNULL,
                stdout=subprocess.PIPE if answers else output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                bufsize=0,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, request: str, timeout: float = ANSWER_TIMEOUT) -> Any:
        """Write a line to its stdin and return the line of JSON that it answers.

        Raises:
            BenchError: it ended, or did not answer within `timeout` seconds.
        """
        assert self._process.stdin is not None  # noqa: S101 - made with `answers`
        try:
            self._process.stdin.write(request.encode() + b"\n")
        except OSError:
            self.check_running()
        return self.answer(timeout)

    def answer(self, timeout: float = ANSWER_TIMEOUT) -> Any:
        """The next line of JSON on its stdout. Raises BenchError, see `ask`."""
        assert self._process.stdout is not None  # noqa: S101 - made with `answers`
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise BenchError(f"{self.name} did not answer within {timeout:g} s{self.said()}")
                received = self._process.stdout.read(65536)
                if not received:
                    self._process.wait()
                    self.check_running()
                self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def check_running(self) -> None:
        """Raise BenchError with the end of its log if it has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self._process.returncode}{self.said()}")

    def stop(self) -> None:
        """Terminate it and its group of processes, and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
        finally:
            self._kill_group()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(self.pid, signal.SIGKILL)

    def said(self) -> str:
        """The end of its log, for an error."""
        text = self._log.read_text(errors="replace")[-_LOG_TAIL:].strip()
        return f": {shown(text)}" if text else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
