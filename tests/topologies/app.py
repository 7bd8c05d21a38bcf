"""What the processes of these tests run: python app.py work|produce URL QUEUE,QUEUE,... MIN_REPLICAS REMAP

REMAP is PORT:PORT,...: where to reach servers on this machine that others know by the first of two ports.

A worker writes a line to its output for each task that ended, a producer for each that was acknowledged:
the queue, the id, the time. Lines are whole even when several processes write or die.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asynq
from asynq_redis.url import read_url

if TYPE_CHECKING:
    from asynq import Context, Task

log = logging.getLogger("producer")

LEASE = timedelta(seconds=3)
SOON = 0.2
EVERY, EVERY_AT_MOST = 0.01, 0.3
"""Minimum pause of a producer between two tasks in one queue, in seconds. If enqueueing is slow, the pause is
longer; otherwise queues would grow on a busy machine, and recovery would take as long as they are."""
REST = 5
"""Pause of a producer as a multiple of the duration of its last enqueue."""


def note(*words: object) -> None:
    """Write one line."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def broker_at(url: str, min_replicas: int, remap: dict[int, int]) -> asynq.Broker:
    """The broker of a URL, which waits for replicas and reaches servers at other ports."""
    endpoint = read_url(url)
    where = [(address.host, address.port) for address in endpoint.addresses]
    options: dict[str, Any] = {
        "min_replicas": min_replicas,
        "replication_timeout": timedelta(seconds=0.5),
        "address_remap": {("127.0.0.1", known): ("127.0.0.1", port) for known, port in remap.items()},
    }
    if endpoint.kind == "cluster":
        return asynq.RedisClusterBroker(where, **options)
    return asynq.RedisSentinelBroker(where, master=endpoint.master, **options)


def work(broker: asynq.Broker, queues: list[str]) -> None:
    """Run tasks of all queues until terminated."""
    mux = asynq.ServeMux()

    @mux.handler("t")
    async def run(ctx: Context, task: Task) -> None:
        note(ctx.queue, ctx.task_id, f"{time.time():.3f}")

    asynq.Server(
        broker,
        concurrency=20,
        queues=dict.fromkeys(queues, 1),
        lease=LEASE,
        retry_delay=lambda retried, error, task: SOON,
    ).run(mux)


def produce(broker: asynq.Broker, queues: list[str]) -> None:
    """Enqueue into each queue from its own thread, until killed."""
    client = asynq.Client(broker)

    def keep_enqueueing(queue: str) -> None:
        for number in itertools.count():
            task_id, began = f"{os.getpid()}-{number}", time.monotonic()
            try:
                client.enqueue(asynq.Task("t", b"", task_id=task_id), queue=queue)
            except asynq.AsynqError as error:
                log.warning("%s: %s", queue, error)
            else:
                note(queue, task_id, f"{time.time():.3f}")
            took = time.monotonic() - began
            time.sleep(min(max(EVERY, REST * took), EVERY_AT_MOST))

    for queue in queues:
        threading.Thread(target=keep_enqueueing, args=(queue,)).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s")
    what, url, queues, min_replicas, remapped = sys.argv[1:6]
    pairs = [pair.split(":") for pair in remapped.split(",") if pair]
    broker = broker_at(url, int(min_replicas), {int(known): int(port) for known, port in pairs})
    {"work": work, "produce": produce}[what](broker, queues.split(","))
