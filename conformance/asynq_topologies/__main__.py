"""python -m asynq_topologies standalone|sentinel|cluster: servers by hand, until interrupted."""

from __future__ import annotations

import signal
import sys
from typing import get_args

from asynq_topologies.layout import Kind
from asynq_topologies.topology import start


def main(arguments: list[str]) -> int:
    """Print where a broker finds them, then wait."""
    if len(arguments) != 1 or arguments[0] not in get_args(Kind):
        sys.stderr.write(f"usage: python -m asynq_topologies {'|'.join(get_args(Kind))}\n")
        return 2
    [kind] = [name for name in get_args(Kind) if name == arguments[0]]
    with start(kind) as topology:
        sys.stdout.write(f"{topology.url}\n")
        for node in (*topology.nodes, *topology.sentinels):
            sys.stdout.write(f"  {node.address[0]}:{node.port} {node.role()}\n")
        sys.stdout.write("Ctrl-C ends them.\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
