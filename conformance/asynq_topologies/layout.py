"""The files servers read: what they are told, whichever engine runs them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from asynq_topologies.ports import BUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from asynq_topologies.certificates import Certificate

TopologyKind = Literal["standalone", "sentinel", "cluster"]

HOST = "127.0.0.1"
"""What servers call themselves and one another, and where clients reach them."""
MASTER = "mymaster"
"""Name the sentinels know the primary by."""
QUORUM = 2
NODE_TIMEOUT = 1000
"""Milliseconds after which cluster nodes take each other for failed; sentinels the same."""
PATIENT_NODE_TIMEOUT = 60_000
"""The same for servers that are to stay what they are: a busy machine holds none of them up for so long."""

SLOTS = 16384
PRIMARIES, REPLICAS, SENTINELS = 3, 2, 3

CONFIGURATION = "server.conf"
"""The file of each server; it lies in a directory that bears the server's number."""
RULES = "~asynq:* &asynq:* +@all -@admin -@dangerous"
"""What a user may do who is named to a broker."""


@frozen(kw_only=True)
class Access:
    """Who may connect, and how."""

    username: str = ""
    """A user for brokers, who may do what they need; empty: they are the default user."""
    password: str = field(default="", repr=False)
    """Of that user and of the default one."""
    sentinel_password: str = field(default="", repr=False)
    certificate: Certificate | None = None
    """With it servers speak TLS and nothing else."""

    @property
    def userinfo(self) -> str:
        """The part of a URL."""
        return f"{self.username}:{self.password}@" if self.password else ""


@frozen(kw_only=True)
class ServerSpec:
    """What is to be run."""

    port: int
    sentinel: bool
    files: dict[str, str]
    """Its files by name."""


def servers(
    kind: TopologyKind,
    ports: Sequence[int],
    root: Path,
    *,
    bind: str,
    access: Access,
    announced: Mapping[int, int] = MappingProxyType({}),
    node_timeout: int = NODE_TIMEOUT,
) -> list[ServerSpec]:
    """All servers of a topology; those that hold data come first, primaries before replicas.

    announced: by which port the others reach a server of a sentinel topology, where it is not its own.
    node_timeout: milliseconds after which the others take a server for failed.
    """
    data = ports[: data_count(kind)]
    primary = announced.get(ports[0], ports[0])
    found = []
    for number, port in enumerate(ports):
        if number >= len(data):
            lines, more = _sentinel_lines(port, primary, access, node_timeout), {}
        elif kind == "cluster":
            more = {"nodes.conf": nodes_file(number, ports, PRIMARIES)}
            lines = [*_data_lines(access), *_cluster_lines(port, access, node_timeout)]
        else:
            more = {}
            copying = [f"replicaof {HOST} {primary}"] if number else []
            announcing = [f"replica-announce-ip {HOST}", f"replica-announce-port {announced.get(port, port)}"]
            lines = [*_data_lines(access), *announcing, *copying]
        text = "\n".join([*_common_lines(port, root / str(number), bind, access), *lines, ""])
        found.append(ServerSpec(port=port, sentinel=number >= len(data), files={CONFIGURATION: text, **more}))
    return found


def data_count(kind: TopologyKind) -> int:
    """How many servers hold data."""
    return {"standalone": 1, "sentinel": 1 + REPLICAS, "cluster": 2 * PRIMARIES}[kind]


def server_count(kind: TopologyKind) -> int:
    """How many there are, sentinels included."""
    return data_count(kind) + (SENTINELS if kind == "sentinel" else 0)


def _common_lines(port: int, directory: Path, bind: str, access: Access) -> list[str]:
    lines = [f"bind {bind}", "protected-mode no", f"dir {directory}"]
    if access.certificate is None:
        return [*lines, f"port {port}"]
    return [
        *(*lines, "port 0", f"tls-port {port}", "tls-auth-clients no", "tls-replication yes"),
        f"tls-cert-file {access.certificate.certificate}",
        f"tls-key-file {access.certificate.key}",
        f"tls-ca-cert-file {access.certificate.certificate}",
    ]


def _data_lines(access: Access) -> list[str]:
    # Persistent, since a server that restarts empty makes its replicas empty too.
    lines = [
        *('save ""', "appendonly yes", "appendfsync everysec"),
        *("repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-timeout 10"),
    ]
    if access.password:
        lines += [f"requirepass {access.password}", f"masterauth {access.password}"]
    if access.username:
        lines.append(f"user {access.username} on >{access.password} {RULES}")
    return lines


def _cluster_lines(port: int, access: Access, node_timeout: int) -> list[str]:
    kind_of_port = "port" if access.certificate is None else "tls-port"
    return [
        *("cluster-enabled yes", "cluster-config-file nodes.conf"),
        *(f"cluster-node-timeout {node_timeout}", "cluster-replica-validity-factor 0"),
        *("cluster-require-full-coverage no", f"cluster-announce-ip {HOST}"),
        *(f"cluster-announce-{kind_of_port} {port}", f"cluster-announce-bus-port {port + BUS}"),
        *([] if access.certificate is None else ["tls-cluster yes"]),
    ]


def _sentinel_lines(port: int, primary: int, access: Access, node_timeout: int) -> list[str]:
    lines = [
        f"sentinel announce-ip {HOST}",
        f"sentinel announce-port {port}",
        f"sentinel monitor {MASTER} {HOST} {primary} {QUORUM}",
        f"sentinel down-after-milliseconds {MASTER} {node_timeout}",
        f"sentinel failover-timeout {MASTER} 3000",
    ]
    if access.password:
        lines.append(f"sentinel auth-pass {MASTER} {access.password}")
    if access.sentinel_password:
        secret = access.sentinel_password
        lines += [f"requirepass {secret}", f"sentinel sentinel-pass {secret}"]
    return lines


def node_id(number: int) -> str:
    """The name of a node within its cluster."""
    return f"{number + 1:040x}"


def share(number: int, primaries: int) -> tuple[int, int]:
    """First and last slot of a primary."""
    return number * SLOTS // primaries, (number + 1) * SLOTS // primaries - 1


def nodes_file(myself: int, ports: Sequence[int], primaries: int) -> str:
    """What a node knows of a cluster it has long been in, so that it need not be introduced to the others.

    The first `primaries` ports are primaries; the others replicate them, one each in turn.
    """
    lines = []
    for number, port in enumerate(ports):
        is_primary = number < primaries
        flags = ("myself," if number == myself else "") + ("master" if is_primary else "slave")
        master = "-" if is_primary else node_id(number % primaries)
        slots = " {}-{}".format(*share(number, primaries)) if is_primary else ""
        where, epoch = f"{HOST}:{port}@{port + BUS}", number % primaries + 1
        lines.append(f"{node_id(number)} {where} {flags} {master} 0 0 {epoch} connected{slots}")
    return "\n".join([*lines, f"vars currentEpoch {primaries} lastVoteEpoch 0", ""])
