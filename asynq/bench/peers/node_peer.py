"""BullMQ: a driver for Node.js, with its packages beside it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.errors import BenchError
from asynq.bench.peers.peer import DRIVERS, fingerprint, run
from asynq.bench.system import MeasuredSystem

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.bench.system import WorkerOptions

SOURCES = DRIVERS / "node"


@frozen
class NodePeer:
    """The usual task queue of Node.js."""

    name: str = "bullmq"

    def prepare(self, directory: Path) -> MeasuredSystem:
        """See `Peer`."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise BenchError("node and npm are not installed")
        texts = {path.name: path.read_bytes() for path in sorted(SOURCES.iterdir())}
        place = directory / f"{self.name}-{fingerprint(*texts.values())}"
        if not (place / "ready").exists():
            self._install(npm, place)

        def work(options: WorkerOptions) -> list[str]:
            return [node, str(place / "driver.mjs"), "work", str(options.concurrency)]

        return MeasuredSystem(
            name=self.name,
            version=json.loads(texts["package.json"])["dependencies"]["bullmq"],
            fewer=4,
            options="Node.js, one process, completed tasks are removed",
            modes=frozenset({"one", "concurrent", "many", "fill", "now"}),
            produce=(node, str(place / "driver.mjs"), "produce"),
            work=work,
        )

    def _install(self, npm: str, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(SOURCES, place)
        try:
            run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], directory=place)
            (place / "ready").touch()
        except BenchError:
            shutil.rmtree(place, ignore_errors=True)
            raise
