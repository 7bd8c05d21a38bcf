"""Dumps of Redis after Go asynq: reading, restoring, and comparing as facts."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.golden.protobuf import decode_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

FOLDER = Path(__file__).parent / "data" / "dumps"
SCENARIOS = sorted(path.stem for path in FOLDER.glob("*.json"))

TASK_KEY = re.compile(r"asynq:\{.+\}:t:")
DAY = re.compile(r":\d{4}-\d\d-\d\d$")

Facts = dict[str, Any]
"""Values by a path such as "asynq:{default}:t:a1 field state"."""


def load(scenario: str) -> dict[str, Any]:
    """One dump."""
    dump: dict[str, Any] = json.loads((FOLDER / f"{scenario}.json").read_text())
    return dump


def leaf(value: str | dict[str, str]) -> bytes:
    """The bytes of a leaf of a dump."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"])


def rows(dump: dict[str, Any]) -> Iterator[tuple[str, str, int, Any]]:
    """Key, type, remaining milliseconds (-1 for no expiry) and value of every key, with bytes for leaves."""
    for row in dump["keys"]:
        value = row["value"]
        match row["type"]:
            case "string":
                content: Any = leaf(value)
            case "list" | "set":
                content = [leaf(item) for item in value]
            case "zset":
                content = [(leaf(item["member"]), float(item["score"])) for item in value]
            case "hash":
                content = {field.encode(): leaf(item) for field, item in value.items()}
        yield row["key"], row["type"], row["ttl_ms"], content


def restore(dump: dict[str, Any], client: redis.Redis) -> None:
    """Write the dump's keyspace into an empty database."""
    for key, kind, ttl, value in rows(dump):
        match kind:
            case "string":
                client.set(key, value)
            case "list":
                client.rpush(key, *value)
            case "set":
                client.sadd(key, *value)
            case "zset":
                client.zadd(key, dict(value))
            case "hash":
                client.hset(key, mapping=value)
        if ttl >= 0:
            client.pexpire(key, ttl)


def live_rows(client: redis.Redis) -> Iterator[tuple[str, str, int, Any]]:
    """Like `rows`, for a database."""
    for key in sorted(client.scan_iter(count=1000)):
        printed = client.type(key)
        kind = printed if isinstance(printed, str) else printed.decode()
        match kind:
            case "string":
                value: Any = client.get(key)
            case "list":
                value = client.lrange(key, 0, -1)
            case "set":
                value = sorted(client.smembers(key))
            case "zset":
                value = client.zrange(key, 0, -1, withscores=True)
            case "hash":
                value = client.hgetall(key)
        yield key.decode(), kind, client.pttl(key), value


def facts(keyspace: Iterator[tuple[str, str, int, Any]]) -> Facts:
    """A keyspace as comparable facts: messages decoded, days without their date."""
    found: Facts = {}
    for name, kind, ttl, value in keyspace:
        key = DAY.sub(":DAY", name)
        found[key] = kind
        if ttl >= 0:
            found[f"{key} ttl"] = ttl
        match kind:
            case "zset":
                found[f"{key} members"] = sorted(member for member, _ in value)
                found |= {f"{key} score {member.decode(errors='replace')}": score for member, score in value}
            case "hash" if TASK_KEY.match(key):
                message = decode_task(value.get(b"msg", b""))
                headers = message.pop("headers", {})
                found |= {f"{key} msg.header {name.decode()}": text for name, text in headers.items()}
                found |= {f"{key} msg.{field}": content for field, content in message.items()}
                found |= {f"{key} field {f.decode()}": c for f, c in value.items() if f != b"msg"}
            case _:
                found[f"{key} value"] = value
    return found
