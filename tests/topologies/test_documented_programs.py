"""The programs of the documentation run on a cluster as they run on one server: only the URL differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.programs import PAGES, run_commands, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_topologies import Topology


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run_on_a_cluster(page: str, tmp_path: Path, cluster: Topology) -> None:
    write_files(page, cluster.url, tmp_path)
    run_commands(page, cluster.url, tmp_path)
