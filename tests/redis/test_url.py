"""Broker URLs: parsed like in Go except for listed deviations; invalid ones are refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asynq.errors import BrokerURLError
from asynq_redis import RedisBroker, connect
from asynq_redis.url import SCHEMES, TLS, Address, Endpoint, read_url

GOLDEN = Path(__file__).parent.parent / "golden"
RECORDED: list[dict[str, Any]] = json.loads((GOLDEN / "data" / "redis_uris.json").read_text())["uris"]
DEVIATIONS: dict[str, str] = json.loads((GOLDEN / "uri_deviations.json").read_text())


def as_go_tells(endpoint: Endpoint) -> dict[str, Any]:
    """The fields that Go's option type would have."""
    first = endpoint.addresses[0]
    told = {
        "db": endpoint.db,
        "username": endpoint.username or "",
        "password": endpoint.password or "",
        "tls": {"server_name": first.host} if endpoint.tls else None,
    }
    if endpoint.kind == "sentinel":
        return told | {
            "master_name": endpoint.master,
            "sentinel_addrs": [str(address) for address in endpoint.addresses],
            "sentinel_username": endpoint.sentinel_username or "",
            "sentinel_password": endpoint.sentinel_password or "",
        }
    return told | {"addr": first.path or str(first), "network": "unix" if first.path else ""}


def our_reading(uri: str) -> dict[str, Any] | None:
    try:
        return as_go_tells(read_url(uri))
    except BrokerURLError:
        return None


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: repr(recorded["uri"]))
def test_a_url_is_parsed_like_in_go_except_for_listed_deviations(recorded: dict[str, Any]) -> None:
    same = our_reading(recorded["uri"]) == recorded.get("fields")
    listed = recorded["uri"] in DEVIATIONS
    assert same != listed, "an unlisted difference" if not listed else "a deviation that never occurs"


def test_every_deviation_has_a_recorded_url_and_a_reason() -> None:
    assert DEVIATIONS.keys() <= {recorded["uri"] for recorded in RECORDED}
    assert all(len(reason) > 10 for reason in DEVIATIONS.values())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Endpoint(addresses=(Address("localhost"),))),
        ("redis://h/", Endpoint(addresses=(Address("h"),))),
        (
            "redis://us%3Aer:p%2F@h:1/2",
            Endpoint(addresses=(Address("h", 1),), db=2, username="us:er", password="p/"),
        ),
        ("redis://u:a:b@h", Endpoint(addresses=(Address("h"),), username="u", password="a:b")),
        ("redis://u:a@b@h", Endpoint(addresses=(Address("h"),), username="u", password="a@b")),
        ("unix:///run/a%20b.sock?db=3", Endpoint(addresses=(Address(path="/run/a b.sock"),), db=3)),
        ("unix://:pw@/r.sock", Endpoint(addresses=(Address(path="/r.sock"),), password="pw")),
        ("rediss://h", Endpoint(addresses=(Address("h"),), tls=TLS())),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none",
            Endpoint(addresses=(Address("h"),), tls=TLS(ca_file="/ca.pem", verify=False)),
        ),
        (
            "redis-sentinel://u:p@a,b:1/4?master=m&sentinel_username=su&sentinel_password=sp",
            Endpoint(
                kind="sentinel",
                addresses=(Address("a", 26379), Address("b", 1)),
                db=4,
                username="u",
                password="p",
                master="m",
                sentinel_username="su",
                sentinel_password="sp",
            ),
        ),
        (
            "redis-cluster://:p@a:7000,[::1]:7001",
            Endpoint(kind="cluster", addresses=(Address("a", 7000), Address("::1", 7001)), password="p"),
        ),
        (
            "rediss-sentinel://a?master=m&ssl_ca_certs=/ca.pem",
            Endpoint(
                kind="sentinel", addresses=(Address("a", 26379),), master="m", tls=TLS(ca_file="/ca.pem")
            ),
        ),
        ("rediss-cluster://a", Endpoint(kind="cluster", addresses=(Address("a"),), tls=TLS())),
        ("redis://h?min_replicas=1", Endpoint(addresses=(Address("h"),), min_replicas=1)),
        (
            "redis-cluster://h?min_replicas=2",
            Endpoint(kind="cluster", addresses=(Address("h"),), min_replicas=2),
        ),
    ],
)
def test_a_url_names_an_endpoint(url: str, expected: Endpoint) -> None:
    assert read_url(url) == expected


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:6379:1", "host and a port"),
        ("redis://::1", "IPv6"),
        ("redis://h/1 ", "space"),
        ("redis://h\t", "control"),
        ("redis://h/%4", "%25"),
        ("redis://:%ff@h", "UTF-8"),
        ("redis://h?dbb=1", "dbb"),
        ("redis://h?db=1&db=1", "twice"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("redis-cluster://h/1", "database 0"),
        ("redis-sentinel://h", "master"),
        ("redis-sentinel://h:1/orders", "redis-sentinel://localhost:26379/0?master=orders"),
        ("unix://", "socket path"),
        ("redis://h?min_replicas=all", "min_replicas"),
    ],
)
def test_an_invalid_url_is_refused_with_the_wrong_part(url: str, named: str) -> None:
    with pytest.raises(BrokerURLError, match="cannot read the broker URL") as refused:
        read_url(url)
    assert named in refused.value.reason


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h:port",
        "redis://:hun/hunter2@h",
        "redis://:hun?hunter2@h",
        "redis://:hun#hunter2@h",
        "redis://:hunter2 @h",
        "redis://:%zzhunter2@h",
        "redis-sentinel://h?sentinel_password=hunter2",
        "redis-sentinel://:hunter2@h?x=1",
    ],
)
def test_a_refusal_shows_no_secret(url: str) -> None:
    with pytest.raises(BrokerURLError) as refused:
        read_url(url)
    assert "hunter2" not in f"{refused.value} {refused.value!r}"


def test_a_broker_shows_no_secret() -> None:
    broker = connect("redis://me:hunter2@h:6380/5")
    assert repr(broker) == "RedisBroker(h:6380, db=5)"
    assert "hunter2" not in repr(read_url("redis://me:hunter2@h"))


@pytest.mark.parametrize("url", ["redis-cluster://h", "redis-sentinel://h?master=m"])
def test_a_broker_of_one_server_refuses_the_url_of_several(url: str) -> None:
    with pytest.raises(BrokerURLError):
        RedisBroker(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?",
        "unix:///r.sock?",
        "redis-sentinel://h?master=m&",
        "redis-cluster://h?",
        "rediss-cluster://h?",
    ],
)
def test_a_url_can_require_replicas(url: str) -> None:
    assert connect(f"{url}min_replicas=1").capabilities.durability == "replicated"
    assert connect(f"{url}min_replicas=0").capabilities.durability == "process"


def test_every_scheme_creates_a_redis_broker() -> None:
    project = tomllib.loads((GOLDEN.parents[1] / "pyproject.toml").read_text())["project"]
    registered: dict[str, str] = project["entry-points"]["asynq.backends"]
    assert {
        scheme for scheme, where in registered.items() if where == "asynq_redis:connect"
    } == SCHEMES.keys()
