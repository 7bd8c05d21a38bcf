"""Standalone, Sentinel and Cluster behind one interface."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import redis
from attrs import evolve
from redis.crc import key_slot

from asynq_topologies import layout
from asynq_topologies.certificates import Certificate
from asynq_topologies.engines import Processes
from asynq_topologies.layout import HOST, MASTER, PRIMARIES, REPLICAS, Access, TopologyKind
from asynq_topologies.node import Node, wait_until
from asynq_topologies.ports import free_cluster_ports, free_port
from asynq_topologies.proxy import Proxy
from asynq_topologies.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from asynq_topologies.engines import ServerEngine


class Topology:
    """Servers that belong together. A context manager that stops them."""

    def __init__(
        self,
        kind: TopologyKind,
        engine: ServerEngine,
        directory: Path,
        nodes: Sequence[Node],
        *,
        access: Access,
        proxies: Mapping[int, Proxy] = MappingProxyType({}),
    ) -> None:
        """`nodes`: those that hold data, then sentinels. `proxies`: by port, what is between them."""
        count = layout.data_count(kind)
        self.kind = kind
        self._engine = engine
        self._directory = directory
        self.nodes = list(nodes[:count])
        """The servers that hold data."""
        self.sentinels = list(nodes[count:])
        self._proxies = proxies
        self.remap = {proxy.address[1]: port for port, proxy in proxies.items()}
        """By which port to reach a server directly that the others know by another one."""
        self.url = _url(self, access)
        """Where a broker finds them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all servers and remove what they left."""
        for node in (*self.sentinels, *self.nodes):
            node.close()
        self._engine.stop()
        for proxy in self._proxies.values():
            proxy.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def flush(self) -> None:
        """Remove all data."""
        for node in self.primaries():
            node.client.flushall()

    def primaries(self) -> list[Node]:
        """The servers that take writes now, as those who decide say; others may still think they do."""
        if self.kind == "standalone":
            return list(self.nodes)
        if self.kind == "sentinel":
            return [self._at(self._named_primary())]
        return [self._at(port) for port in dict.fromkeys(port for *_, port in self._slots())]

    def primary_of(self, key: str) -> Node:
        """The server that has this key now."""
        if self.kind != "cluster":
            return self.primaries()[0]
        slot = key_slot(key.encode())
        return next(self._at(port) for first, last, port in self._slots() if first <= slot <= last)

    def replicas_of(self, primary: Node) -> list[Node]:
        """The servers that copy from this one now."""
        replicas = primary.info("replication")
        count = replicas["connected_slaves"]
        return [self._at(int(replicas[f"slave{number}"]["port"])) for number in range(count)]

    def is_whole(self) -> bool:
        """True if every part has a primary, every primary its replicas, and all know of one another."""
        if self.kind == "standalone":
            return self.nodes[0].answers()
        if self.kind == "sentinel":
            return self._sentinels_agree() and _copies(self.primaries()[0], REPLICAS)
        return self._nodes_agree() and all(_copies(primary, 1) for primary in self.primaries())

    def wait_whole(self) -> None:
        """Until it is whole. RuntimeError when that does not come."""
        wait_until(self.is_whole, f"the {self.kind} to be whole")

    def fail_over(self, primary: Node) -> Node:
        """Let a replica take over from a primary that lives, as an operator would; the new primary."""
        if self.kind == "sentinel":
            self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER)
            wait_until(lambda: self.primaries() != [primary], "the failover")
            return self.primaries()[0]
        replica = self.replicas_of(primary)[0]
        replica.ask("CLUSTER", "FAILOVER")
        wait_until(lambda: replica.role() == "master", "the failover")
        return replica

    def wait_replaced(self, primary: Node) -> None:
        """Until another server has taken the place of a primary that was killed or paused."""
        wait_until(lambda: primary not in self.primaries(), f"port {primary.port} to be replaced")

    def set_node_timeout(self, milliseconds: int, *, of_all_but: Node | None = None) -> None:
        """Let servers take one that is silent for so long for failed, and replace it."""
        if self.kind == "sentinel":
            for sentinel in self.sentinels:
                sentinel.ask("SENTINEL", "SET", MASTER, "down-after-milliseconds", milliseconds)
        elif self.kind == "cluster":
            for node in self.nodes:
                if node is not of_all_but:
                    node.ask("CONFIG", "SET", "cluster-node-timeout", milliseconds)

    def cut_off(self, node: Node) -> None:
        """Let nothing pass between a server and the others; who knows its own port reaches it still."""
        self._proxies[node.port].hold()

    def heal(self, node: Node) -> None:
        """Let pass what was held."""
        self._proxies[node.port].heal()

    def _at(self, port: int) -> Node:
        port = self.remap.get(port, port)
        return next(node for node in self.nodes if node.port == port)

    def _named_primary(self) -> int:
        for sentinel in self.sentinels:
            if sentinel.answers():
                return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        raise redis.ConnectionError("no sentinel answers")

    def _slots(self) -> list[tuple[int, int, int]]:
        """First and last slot and port of each range, as a node of the majority sees it."""
        for node in self.nodes:
            try:
                if b"cluster_state:ok" in node.ask("CLUSTER", "INFO") and node.role() == "master":
                    return list(_view(node))
            except redis.RedisError:
                continue
        raise redis.ConnectionError("no node of the cluster is well")

    def _sentinels_agree(self) -> bool:
        others = (len(self.sentinels) - 1, REPLICAS)
        return all(_sees(sentinel) == others for sentinel in self.sentinels) and (
            self.primaries()[0].role() == "master"
        )

    def _nodes_agree(self) -> bool:
        well = [b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes]
        return all(well) and len({_view(node) for node in self.nodes}) == 1


def start(
    kind: TopologyKind,
    *,
    executable: str | None = None,
    access: Access = Access(),  # noqa: B008 - frozen
    proxied: bool = False,
    node_timeout: int = layout.NODE_TIMEOUT,
) -> Topology:
    """Start servers and wait until they are whole.

    Args:
        kind: which servers.
        executable: run local processes of this redis-server. Default: `selection.select` decides.
        access: who may connect, and how.
        proxied: the servers of a sentinel topology reach those with data through proxies, so that `cut_off`
            can separate one from the others. Only local processes can do this.
        node_timeout: milliseconds after which the others take a server for failed, and replace it.

    Raises:
        EngineError: the servers cannot be run.
        RuntimeError: the servers do not get ready.
    """
    engine = select().open() if executable is None else Processes(executable)
    if proxied and (kind != "sentinel" or not isinstance(engine, Processes)):
        raise ValueError("proxies stand between local processes of the kind sentinel only")
    count = layout.server_count(kind)
    ports = free_cluster_ports(count) if kind == "cluster" else _free_ports(count)
    proxies = {port: Proxy(port) for port in ports[: layout.data_count(kind)]} if proxied else {}
    announced = {port: proxy.address[1] for port, proxy in proxies.items()}
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    try:
        access = _copied(access, directory)
        servers = layout.servers(
            kind,
            ports,
            directory,
            bind=engine.bind,
            access=access,
            announced=announced,
            node_timeout=node_timeout,
        )
        for number, server in enumerate(servers):
            (directory / str(number)).mkdir()
            for name, text in server.files.items():
                (directory / str(number) / name).write_text(text)
        hosts = engine.hosts(directory, servers)
    except BaseException:
        engine.stop()
        shutil.rmtree(directory, ignore_errors=True)
        raise
    nodes = []
    for server, host in zip(servers, hosts, strict=True):
        password = access.sentinel_password if server.sentinel else access.password
        nodes.append(Node(host, server.port, password=password, certificate=access.certificate))
    return _started(Topology(kind, engine, directory, nodes, access=access, proxies=proxies))


def _copied(access: Access, directory: Path) -> Access:
    """The same with its certificate in the directory of the servers, the only one that containers see."""
    if access.certificate is None:
        return access
    files = (access.certificate.certificate, access.certificate.key)
    return evolve(access, certificate=Certificate(*(str(shutil.copy(file, directory)) for file in files)))


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def _url(topology: Topology, access: Access) -> str:
    parameters = {}
    if topology.kind == "sentinel":
        parameters["master"] = MASTER
        if access.sentinel_password:
            parameters["sentinel_password"] = access.sentinel_password
    if access.certificate is not None:
        parameters["ssl_ca_certs"] = access.certificate.certificate
    scheme = "redis" if access.certificate is None else "rediss"
    kind = "" if topology.kind == "standalone" else f"-{topology.kind}"
    hosts = ",".join(f"{HOST}:{node.port}" for node in topology.sentinels or topology.nodes[:PRIMARIES])
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"{scheme}{kind}://{access.userinfo}{hosts}{'?' if query else ''}{query}"


def _started(topology: Topology) -> Topology:
    try:
        for one in topology.nodes:
            one.host.start()
        for one in topology.nodes:
            one.wait_ready()  # a server that refuses its configuration says why in its log
        if topology.kind == "sentinel":
            # A sentinel that finds no replicas looks again only after 10 s.
            wait_until(lambda: _copies(topology.nodes[0], REPLICAS), "the replicas")
        for one in topology.sentinels:
            one.host.start()
        topology.wait_whole()
    except BaseException:
        topology.stop()
        raise
    return topology


def _copies(primary: Node, count: int) -> bool:
    facts = primary.info("replication")
    return (
        facts["role"] == "master"
        and [facts[f"slave{number}"]["state"] for number in range(facts["connected_slaves"])]
        == ["online"] * count
    )


def _sees(sentinel: Node) -> tuple[int, int]:
    reply = sentinel.ask("SENTINEL", "MASTER", MASTER)
    facts = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    text = {_text(name): _text(value) for name, value in facts.items()}
    return int(text["num-other-sentinels"]), int(text["num-slaves"])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _view(node: Node) -> tuple[tuple[int, int, int], ...]:
    return tuple(sorted((first, last, owner[1]) for first, last, owner, *_ in node.ask("CLUSTER", "SLOTS")))
