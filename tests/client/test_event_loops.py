"""Connections, watchers and files of an event loop end with it. A process may run any number of loops."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import asynq_topologies
from asynq import AsyncClient, AsyncInspector, Client, ServeMux, Server, SQLiteBroker, Task
from asynq.protocol.ops import Ping
from asynq_redis import TLS, RedisBroker
from asynq_topologies.certificates import self_signed
from tests.servers import RedisServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from asynq import Context
    from asynq_topologies import Topology

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

LOOPS = 20
HOUR = timedelta(hours=1)


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    if request.param == "asyncio":
        return asyncio.new_event_loop
    made: NewLoop = pytest.importorskip("uvloop").new_event_loop
    return made


def run(new_loop: NewLoop, work: Any) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


def run_and_close(new_loop: NewLoop, work: Any) -> None:
    """Run like programs that manage their loop manually and do not announce its end."""
    loop = new_loop()
    loop.run_until_complete(work)
    loop.close()


def connections(server: redis.Redis) -> int:
    """Connections to the server, without those of the test and of other servers."""
    found: list[dict[str, str]] = server.client_list()
    mine = str(server.client_id())
    return sum(
        one["id"] != mine and not set(one["flags"]) & set("SM") and not one["name"].startswith("sentinel")
        for one in found
    )


async def wait_in_vain(client: AsyncClient) -> None:
    info = await client.enqueue(Task("t"), retention=HOUR)
    with pytest.raises(TimeoutError):
        await client.wait(info, timeout=timedelta(milliseconds=50))


def test_the_end_of_a_loop_leaves_no_connection(redis_server: RedisServer, new_loop: NewLoop) -> None:
    client, inspector = AsyncClient(redis_server.url), AsyncInspector(redis_server.url)
    before = connections(redis_server.client)
    for _ in range(LOOPS):
        run(new_loop, client.enqueue(Task("t")))
        run(new_loop, inspector.queues())
    eventually(lambda: connections(redis_server.client) == before)
    assert inspector._broker.execute is not None


def test_a_watcher_ends_with_its_loop(redis_server: RedisServer, new_loop: NewLoop) -> None:
    client = AsyncClient(redis_server.url)
    before = connections(redis_server.client)
    for _ in range(3):
        run(new_loop, wait_in_vain(client))
    eventually(lambda: connections(redis_server.client) == before)


@pytest.mark.filterwarnings(
    "ignore:unclosed resource:ResourceWarning"
)  # uvloop's, of a loop closed like that
def test_manually_closed_loops_leave_one_connection_until_the_client_is_collected(
    redis_server: RedisServer, new_loop: NewLoop
) -> None:
    client = AsyncClient(redis_server.url)
    before = connections(redis_server.client)
    for _ in range(LOOPS):
        run_and_close(new_loop, client.enqueue(Task("t")))
        eventually(lambda: connections(redis_server.client) <= before + 1)
    run_and_close(new_loop, wait_in_vain(client))
    del client
    gc.collect()
    eventually(lambda: connections(redis_server.client) == before)


ABANDONING = """
import asyncio, gc, sys, warnings
import psutil
from asynq import AsyncClient, Task

warnings.simplefilter("ignore")
client = AsyncClient(sys.argv[1])
if sys.argv[2] == "uvloop":
    import uvloop
    make = uvloop.new_event_loop
else:
    make = asyncio.new_event_loop
for turns in range(40):
    loop = make()
    calls = [loop.create_task(client.enqueue(Task("t"))) for _ in range(5)]
    for _ in range(turns % 8 + 1):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    del calls, loop
    gc.collect()
asyncio.run(client.enqueue(Task("t")))
gc.collect()
print(sum(connection.status == "ESTABLISHED" for connection in psutil.Process().net_connections("tcp")))
"""


def test_calls_abandoned_with_a_closed_loop_leave_no_connection(
    redis_server: RedisServer, new_loop: NewLoop
) -> None:
    which = "asyncio" if new_loop is asyncio.new_event_loop else "uvloop"
    command = [sys.executable, "-c", ABANDONING, redis_server.url, which]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "0\n")


def test_a_client_collected_on_its_loop_leaves_no_connection(
    redis_server: RedisServer, new_loop: NewLoop
) -> None:
    before = connections(redis_server.client)

    async def work() -> None:
        await wait_in_vain(AsyncClient(redis_server.url))
        gc.collect()
        await asyncio.to_thread(eventually, lambda: connections(redis_server.client) == before)
        # It is collected with the coroutine when its loop ends at once.
        client = AsyncClient(redis_server.url)
        await asyncio.gather(*(client.ping() for _ in range(5)))

    run(new_loop, work())
    eventually(lambda: connections(redis_server.client) == before)


def test_a_loop_is_not_affected_by_the_end_of_other_loops(
    redis_server: RedisServer, new_loop: NewLoop
) -> None:
    client = AsyncClient(redis_server.url)
    before = connections(redis_server.client)

    async def work() -> None:
        await client.ping()
        with ThreadPoolExecutor(8) as threads:
            for _ in range(LOOPS):
                threads.submit(run, new_loop, client.enqueue(Task("t"))).result()
            list(threads.map(lambda _: run(new_loop, client.enqueue(Task("t"))), range(LOOPS)))
        assert connections(redis_server.client) <= before + 2
        await client.ping()

    run(new_loop, work())
    eventually(lambda: connections(redis_server.client) == before)


def test_a_forked_child_frees_inherited_resources(redis_server: RedisServer, new_loop: NewLoop) -> None:
    client = AsyncClient(redis_server.url)
    before = connections(redis_server.client)

    async def work() -> None:
        await client.ping()
        ready, told = os.pipe()
        end, ask_to_end = os.pipe()
        if not (child := os.fork()):
            code = 1
            try:
                asyncio._set_running_loop(None)
                run_in_thread(new_loop, client.enqueue(Task("t")))
                os.write(told, b"x")
                os.read(end, 1)
                code = 0
            finally:
                os._exit(code)
        os.read(ready, 1)
        assert connections(redis_server.client) == before + 1
        await client.ping()
        await client.aclose()
        # The child still runs and has none of the connections.
        eventually(lambda: connections(redis_server.client) == before)
        os.write(ask_to_end, b"x")
        assert await asyncio.to_thread(os.waitpid, child, 0) == (child, 0)

    run(new_loop, work())


def run_in_thread(new_loop: NewLoop, work: Any) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(run, new_loop, work).result()


def test_plain_handlers_can_run_their_own_loops(redis_server: RedisServer, new_loop: NewLoop) -> None:
    mux, done = ServeMux(), threading.Semaphore(0)
    enqueuer = AsyncClient(redis_server.url)

    @mux.handler("outer")
    def outer(ctx: Context, task: Task) -> None:
        run(new_loop, enqueuer.enqueue(Task("inner")))
        done.release()

    async def work() -> None:
        broker = RedisBroker(redis_server.url)
        await broker.aexecute_many([])
        server = Server(broker, concurrency=4)
        before = connections(redis_server.client)
        with Client(redis_server.url) as client:
            client.enqueue_many([Task("outer") for _ in range(LOOPS)])
        await server.start(mux)
        for _ in range(LOOPS):
            await asyncio.to_thread(done.acquire, timeout=15)
        await server.shutdown()
        await broker.aclose()
        broker.close()
        eventually(lambda: connections(redis_server.client) == before)

    run(new_loop, work())


@pytest.mark.parametrize("backend", ["redis", "sqlite"])
def test_a_server_without_a_shutdown_ends_with_its_loop(
    backend: str, redis_server: RedisServer, tmp_path: Path, new_loop: NewLoop
) -> None:
    broker = RedisBroker(redis_server.url) if backend == "redis" else SQLiteBroker(tmp_path / "tasks.db")
    this = psutil.Process()

    async def work() -> None:
        server = Server(broker, concurrency=2)
        await server.start(ServeMux())
        await broker.aexecute(Ping())

    def held() -> tuple[int, int, int, int]:
        broker.close()
        return (
            connections(redis_server.client),
            this.num_fds(),
            threading.active_count(),
            len(this.children()),
        )

    run(new_loop, work())
    gc.collect()
    before = held()
    run(new_loop, work())
    eventually(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_loops_leave_no_connection_to_any_server(
    kind: str, request: pytest.FixtureRequest, new_loop: NewLoop
) -> None:
    topology: Topology = request.getfixturevalue(kind)
    nodes = [*topology.nodes, *topology.sentinels]
    client = AsyncClient(topology.url)
    before = [connections(node.client) for node in nodes]
    for number in range(5):
        run(new_loop, client.enqueue_many([Task("t", queue=f"{number}{letter}") for letter in "abcdef"]))
    run(new_loop, wait_in_vain(client))
    eventually(
        lambda: all(connections(node.client) <= count for node, count in zip(nodes, before, strict=True))
    )


def test_loops_leave_no_encrypted_connection(tmp_path: Path, new_loop: NewLoop) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    made = self_signed(tmp_path)
    port = asynq_topologies.ports.free_port()
    files = ("--tls-cert-file", made.certificate, "--tls-key-file", made.key, "--tls-auth-clients", "no")
    with RedisServer.start("--tls-port", str(port), *files) as server:
        broker = RedisBroker(f"rediss://127.0.0.1:{port}", tls=TLS(ca_file=made.certificate))
        client = AsyncClient(broker)
        before = connections(server.client)
        for _ in range(3):
            run(new_loop, wait_in_vain(client))
        eventually(lambda: connections(server.client) == before)
        if new_loop is asyncio.new_event_loop:
            for _ in range(3):
                run_and_close(new_loop, client.enqueue(Task("t")))
                eventually(lambda: connections(server.client) <= before + 1)
            broker.close()
            eventually(lambda: connections(server.client) == before)


def test_loops_leave_no_file_and_no_thread(tmp_path: Path, new_loop: NewLoop) -> None:
    broker = SQLiteBroker(tmp_path / "tasks.db")
    client = AsyncClient(broker)
    this = psutil.Process()

    def watched() -> bool:
        """Whether the thread that polls the file for waits exists. It ends soon after the last wait."""
        return any(thread.name == "asynq-sqlite-watch" for thread in threading.enumerate())

    run(new_loop, wait_in_vain(client))
    eventually(lambda: not watched())
    files, threads = this.num_fds(), threading.active_count()
    for _ in range(3):
        run(new_loop, wait_in_vain(client))
    eventually(lambda: not watched())
    eventually(lambda: this.num_fds() <= files)
    eventually(lambda: threading.active_count() <= threads)
    for _ in range(3):
        run_and_close(new_loop, wait_in_vain(client))
    broker.close()
    del client
    assert this.num_fds() < files
    eventually(lambda: threading.active_count() < threads)
