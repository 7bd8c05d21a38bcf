from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from asynq.protocol.uniqueness import unique_key

RECORDED = Path(__file__).parents[1] / "golden" / "data" / "unique_keys.json"


def payload_of(row: dict[str, Any]) -> bytes | None:
    if "payload_repeat" in row:
        return b64decode(row["payload_repeat"]["b64"]) * int(row["payload_repeat"]["times"])
    return None if row["payload"] is None else b64decode(row["payload"])


def text_of(leaf: str | dict[str, str]) -> str:
    return leaf if isinstance(leaf, str) else b64decode(leaf["b64"]).decode()


@pytest.mark.parametrize("row", json.loads(RECORDED.read_text())["keys"], ids=lambda row: row["type"])
def test_the_lock_has_the_same_name_as_in_go(row: dict[str, Any]) -> None:
    key = unique_key(text_of(row["queue"]), text_of(row["type"]), payload_of(row))
    assert key == text_of(row["unique_key"])
