"""python -m asynq_topologies standalone|sentinel|cluster [--tls] [--acl]: servers until interrupted.

python -m asynq_topologies image: a Docker image made of a server of this machine, for where no registry is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from asynq_topologies.certificates import self_signed
from asynq_topologies.engines import EngineError
from asynq_topologies.executables import VERSION, find_redis_server
from asynq_topologies.layout import Access, TopologyKind
from asynq_topologies.selection import docker_client, select
from asynq_topologies.topology import Topology, start

if TYPE_CHECKING:
    from collections.abc import Sequence

USERNAME, PASSWORD = "app", "secret"
"""Whom --acl lets in. Everybody may know: the servers are of this machine, and end with the command."""


def main(arguments: Sequence[str]) -> int:
    """Run servers, or make an image; 1 if neither can be done."""
    wanted = _parser().parse_args(arguments)
    if wanted.redis_version:
        os.environ[VERSION] = wanted.redis_version
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also while the servers are being started; a plain SIGTERM would leave their files behind.
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            if wanted.kind == "image":
                _make_image(wanted.executable, wanted.name)
            else:
                _run(wanted)
    except (EngineError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m asynq_topologies", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in (*get_args(TopologyKind), "image"):
        commands = kinds.add_parser(kind)
        commands.add_argument(
            "--redis-version",
            metavar="VERSION",
            help="such as 6.2, 7.4 or 8; with Docker also the name of an image",
        )
        if kind == "image":
            commands.add_argument(
                "executable",
                nargs="?",
                help="a redis-server or valkey-server; default: the one that is found",
            )
            commands.add_argument("--name", default="", help="of the image; default: redis or valkey")
        else:
            commands.add_argument(
                "--tls", action="store_true", help="speak TLS, by a certificate made for it"
            )
            commands.add_argument(
                "--acl", action="store_true", help="let in a user with a password and few rights"
            )
    return parser


def _run(wanted: argparse.Namespace) -> None:
    """Print where a broker finds the servers, then wait."""
    with tempfile.TemporaryDirectory(prefix="redis-tls-") as directory:
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


def _make_image(executable: str | None, name: str) -> None:
    found = executable or find_redis_server()
    if found is None:
        raise EngineError("no redis-server to make an image of")
    from asynq_topologies import images

    for tagged in images.make(docker_client(), found, name):
        sys.stdout.write(f"{tagged}\n")


def _describe(topology: Topology) -> None:
    sys.stdout.write(f"{topology.url}\n")
    for node in (*topology.nodes, *topology.sentinels):
        sys.stdout.write(f"  {node.address[0]}:{node.port} {node.role()}\n")
    sys.stdout.write(f"{select()}\nCtrl-C ends them.\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
