"""RedisBroker without access: wrong credentials, missing rights, old or untrusted servers."""

from __future__ import annotations

import asyncio
import shutil
import socketserver
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq.errors import BrokerFullError, BrokerRefusedError
from asynq.protocol.broker import Wake
from asynq.protocol.ops import Ping
from asynq_redis import RedisBroker
from asynq_topologies.certificates import self_signed
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import COUNTER, Count, Echo, Face, Send
from tests.servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("custom_operations")

LONG = timedelta(seconds=20)


def test_a_wrong_password_is_refused_at_once(face: Face) -> None:
    with RedisServer.start(password="right") as server, Proxy(server.port) as proxy:
        for url, advice in (
            (proxy.url.replace("redis://", "redis://:hunter2@"), "wrong username or password"),
            (proxy.url, "it requires a password"),
        ):
            before = proxy.connections
            with pytest.raises(BrokerRefusedError, match=advice) as refused:
                face.ask(RedisBroker(url, budget=LONG), Ping())
            assert proxy.connections == before + 1
            assert "hunter2" not in f"{refused.value} {refused.value!r} {refused.value.__cause__!r}"


def test_a_database_that_does_not_exist_is_refused_at_once(redis_server: RedisServer, face: Face) -> None:
    with pytest.raises(BrokerRefusedError, match="DB index is out of range"):
        face.ask(RedisBroker(redis_server.url, db=9999, budget=LONG), Ping())


def test_a_missing_right_is_refused_with_advice(own_server: RedisServer, face: Face) -> None:
    own_server.client.acl_setuser("me", enabled=True, nopass=True, keys=["*"], commands=["+hello", "+echo"])
    broker = RedisBroker(own_server.url, username="me", password="any", budget=LONG)
    refused, answered = face.ask(broker, Count(), Echo("x"))
    assert isinstance(refused, BrokerRefusedError)
    assert "permission" in str(refused)
    assert answered == b"x"
    broker.close()


def test_a_full_server_is_reported_and_nothing_changes(own_server: RedisServer, face: Face) -> None:
    own_server.client.config_set("maxmemory", "1")
    broker = RedisBroker(own_server.url, budget=LONG)
    (refused,) = face.ask(broker, Send(("SET", COUNTER, "1")))
    assert isinstance(refused, BrokerFullError)
    assert own_server.client.dbsize() == 0
    broker.close()


class _OldServer(socketserver.StreamRequestHandler):
    """A server that answers HELLO like the given version, and supports nothing else."""

    reply = b""

    def handle(self) -> None:
        while self.rfile.read(1):
            self.wfile.write(self.reply)
            self.rfile.readline()


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b"-ERR unknown command 'HELLO'\r\n", "older"),
        (b"-ERR wrong number of arguments for 'hello' command\r\n", "older"),
        (b"*2\r\n$7\r\nversion\r\n$5\r\n6.1.9\r\n", "6.1"),
    ],
)
def test_a_server_before_6_2_is_refused(reply: bytes, told: str, face: Face) -> None:
    handler = type("Handler", (_OldServer,), {"reply": reply})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        broker = RedisBroker(f"redis://127.0.0.1:{server.server_address[1]}", budget=LONG)
        with pytest.raises(BrokerRefusedError, match=r"needs Redis 6\.2 or later") as refused:
            face.ask(broker, Ping())
        assert refused.value.reason.endswith(told)
        server.shutdown()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    made = self_signed(tmp_path_factory.mktemp("tls"))
    return made.certificate, made.key


@pytest.fixture
def tls_port(certificate: tuple[str, str]) -> Iterator[int]:
    """The TLS port of a Redis server."""
    port, (cert, key) = free_port(), certificate
    words = f"--tls-port {port} --tls-cert-file {cert} --tls-key-file {key} --tls-auth-clients no"
    try:
        server = RedisServer.start(*words.split())
    except (AssertionError, RuntimeError) as error:
        if "TLS" not in str(error) and "tls" not in str(error):
            raise
        pytest.skip("this redis-server was built without TLS")
    with server:
        yield port


def test_tls_connects_to_a_server_with_a_trusted_certificate(
    tls_port: int, certificate: tuple[str, str], face: Face
) -> None:
    broker = RedisBroker(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={certificate[0]}")
    assert face.ask(broker, Echo("x")) == [b"x"]

    async def listen() -> None:
        listener = broker.listener()
        await listener.arm(["q"])
        assert await asyncio.wait_for(listener.next(), 5) == Wake()
        await listener.aclose()

    asyncio.run(listen())
    broker.close()


def test_tls_refuses_a_server_with_an_untrusted_certificate_at_once(tls_port: int, face: Face) -> None:
    broker = RedisBroker(f"rediss://127.0.0.1:{tls_port}", budget=LONG)
    with pytest.raises(BrokerRefusedError, match="certificate"):
        face.ask(broker, Ping())
    trusting = RedisBroker(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none")
    assert face.ask(trusting, Echo("x")) == [b"x"]
    trusting.close()
