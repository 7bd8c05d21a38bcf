"""Facts about the machine, for the report."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from asynq.bench.interpreter import interpreter_build


def machine_facts() -> dict[str, Any]:
    """Processor, system, versions, and how busy the machine was before."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": interpreter_build(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
