"""How handler processes find the code of a program, and what they inherit from it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.programs import program_environment

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import asyncio, sys, threading
import asynq

mux = asynq.ServeMux()

class OwnError(Exception):
    pass

@mux.handler("sum", executor="process")
def add(ctx, task):
    if not task.payload:
        raise OwnError("mine")
    return sum(task.json())

errors, failed = [], asyncio.Event()

def on_error(error, task, ctx):
    errors.append(error)
    failed.set()

async def main():
    broker = asynq.MemoryBroker()
    server = asynq.Server(broker, concurrency=1, on_error=on_error)
    await server.start(mux)
    async with asynq.AsyncClient(broker) as client:
        info = await client.enqueue(asynq.Task("sum", [1, 2, 3]), retention=asynq_hour)
        await client.enqueue(asynq.Task("sum"), max_retry=0)
    await failed.wait()
    from asynq.protocol.ops import GetTask
    stored = await broker.aexecute(GetTask(queue="default", task_id=info.id))
    print(stored.result.decode(), type(errors[0]) is OwnError)
    await server.shutdown()

from datetime import timedelta
asynq_hour = timedelta(hours=1)
"""
GUARD = 'if __name__ == "__main__":\n    '


def output(program: str, path: Path, *arguments: str) -> str:
    path.write_text(program)
    environment = program_environment()
    command = [sys.executable, *(arguments or (str(path),))]
    return subprocess.run(
        command, env=environment, cwd=path.parent, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_handlers_and_errors_of_a_script_are_identical_in_its_processes(tmp_path: Path) -> None:
    assert output(f"{PROGRAM}\n{GUARD}asyncio.run(main())\n", tmp_path / "app.py") == "6 True\n"


def test_handlers_of_a_module_run_with_dash_m_are_found_by_its_name(tmp_path: Path) -> None:
    program = f"{PROGRAM}\n{GUARD}asyncio.run(main())\n"
    assert output(program, tmp_path / "app.py", "-m", "app") == "6 True\n"


SURROUNDINGS = """
import asyncio, logging, multiprocessing, os, sys, warnings
import asynq

mux = asynq.ServeMux()
ARGV = sys.argv[1:]

def square(number):
    return number * number

@mux.handler("look", executor="process")
def look(ctx, task):
    print("printed", end="")
    import __main__
    with multiprocessing.Pool(1) as pool:
        [squared] = pool.map(square, [3])
    enabled = logging.getLogger("app.jobs").isEnabledFor
    return [
        ARGV, os.getcwd(), os.umask(0), os.environ["ADDED"], sys.warnoptions, __main__.mux is mux, squared,
        multiprocessing.get_start_method(), enabled(logging.INFO), enabled(logging.DEBUG),
    ]

async def main():
    broker = asynq.MemoryBroker()
    server = asynq.Server(broker, concurrency=1)
    await server.start(mux)
    async with asynq.AsyncClient(broker) as client:
        info = await client.enqueue(asynq.Task("look"), retention=timedelta(hours=1))
        print((await client.wait(info, timedelta(seconds=30))).decode())
    await server.shutdown()

from datetime import timedelta
if __name__ == "__main__":
    os.umask(0o27)
    os.environ["ADDED"] = "later"
    logging.getLogger("app").setLevel(logging.INFO)
    multiprocessing.set_start_method("spawn")
    asyncio.run(main())
"""


def test_a_handler_process_has_the_environment_of_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    said = output(SURROUNDINGS, path, "-W", "ignore::ResourceWarning", str(path), "--flag", "value")
    assert said.startswith("printed")
    assert json.loads(said.removeprefix("printed")) == [
        ["--flag", "value"],
        str(tmp_path),
        0o27,
        "later",
        ["ignore::ResourceWarning"],
        True,
        9,
        "spawn",
        True,
        False,
    ]


def test_a_script_without_a_main_guard_is_refused_with_advice(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        "print(stored.result.decode(), type(errors[0]) is OwnError)", "print(errors[0])"
    )
    program = program.replace("stored = await", "stored = 0 and await")
    assert "if __name__" in output(f"{program}\nasyncio.run(main())\n", tmp_path / "app.py")
