"""python -m asynq_topologies standalone|sentinel|cluster [--tls] [--acl]: servers until interrupted."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from asynq_topologies.certificates import self_signed
from asynq_topologies.layout import Access, TopologyKind
from asynq_topologies.topology import Topology, start

if TYPE_CHECKING:
    from collections.abc import Sequence

USERNAME, PASSWORD = "app", "secret"
"""Whom --acl lets in. Everybody may know: the servers are of this machine, and end with the command."""


def main(arguments: Sequence[str]) -> int:
    """Print where a broker finds them, then wait."""
    parser = argparse.ArgumentParser(prog="python -m asynq_topologies", description="Redis servers to try.")
    parser.add_argument("kind", choices=get_args(TopologyKind))
    parser.add_argument("--tls", action="store_true", help="speak TLS, by a certificate made for it")
    parser.add_argument("--acl", action="store_true", help="let in a user with a password and few rights")
    wanted = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also while the servers are being started; a plain SIGTERM would leave their files behind.
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="redis-tls-") as directory,
    ):
        access = Access(
            username=USERNAME if wanted.acl else "",
            password=PASSWORD if wanted.acl else "",
            sentinel_password=PASSWORD if wanted.acl else "",
            certificate=self_signed(Path(directory)) if wanted.tls else None,
        )
        with start(wanted.kind, access=access) as topology:
            _describe(topology)
            while True:
                time.sleep(1.0)
    return 0


def _describe(topology: Topology) -> None:
    sys.stdout.write(f"{topology.url}\n")
    for node in (*topology.nodes, *topology.sentinels):
        sys.stdout.write(f"  {node.address[0]}:{node.port} {node.role()}\n")
    sys.stdout.write("Ctrl-C ends them.\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
