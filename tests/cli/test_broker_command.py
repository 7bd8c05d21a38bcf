"""`asynq broker`, on every kind of broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.commands import Commands


def test_the_store_is_shown_with_its_nodes(run: Commands) -> None:
    run.enqueue("a")
    page = run.ok("broker").out
    (item,) = run.ok("broker", "--json").objects
    assert item["product"] in page.splitlines()[0]
    assert item["version"] in page.splitlines()[0]
    (node,) = item["nodes"]
    assert node["address"] in page
    assert node["memory_used"] > 0
    assert node["details"]
    for warning in item["warnings"]:
        assert f"Warning: {warning}." in page
