"""The numbered bugs that a conformance suite must catch, with the promises they break and the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq_conformance.promises import LAYERS, Promise

if TYPE_CHECKING:
    from asynq_conformance.promises import Layer


@frozen
class Bug:
    """A plausible mistake in a broker or in a client."""

    number: int
    what: str
    promises: tuple[Promise, ...]
    layers: tuple[Layer, ...]
    """Layers of the suite that must catch it."""


# number, layers, promises, bug
_TABLE = """
1 AB G3 dequeue makes no lease
2 AB G3,G10 dequeue leaves the task pending
3 AB G3 the next run of a task has the token of the last
4 ABC G3 done accepts a stale token
5 ABC G3 extend accepts a stale token
6 AB G3 extend restores a finished task
7 AB G3 extend shortens a lease
8 AB G3 recover takes leases that have not expired
9 ABC G1 recover loses the task
10 AB G3,G10 recover leaves the task active
11 AB G10 recover ignores the maximum of retries
12 AB G1 a settlement with an expired lease is refused before recovery
13 AB G3 retry keeps the lease
14 AB G3 requeue keeps the lease
15 A G11 an active task without a lease stays forever
16 AC G3 two dequeues get one task, because dequeue is not atomic
17 A G4 the lock is ignored
18 AB G4 the lock expires too early
19 AB G4 the lock never expires
20 AB G4 done keeps the lock
21 AB G4 complete keeps the lock
22 AB G4 delete keeps the lock
23 AB G4 finishing an aggregation keeps the locks of its tasks
24 AB G4 the lock of another task is released
25 AB G4 retry releases the lock
26 AB G4 requeue releases the lock
27 AB G4,G10 the lock is taken despite an id conflict
28 AC G4 two tasks get one lock, because locking is not atomic
29 ABC G7 last in, first out
30 AB G7 requeue goes to the tail
31 ABC G5 queues are consulted in alphabetical order
32 ABC G5 the third queue is consulted before the second
33 AB G5 a pause is ignored
34 AC G6 the weights are ignored
35 AC G6 the weights are off by five points
36 AC G6 the queue with the smallest weight starves
37 AB G9 forward moves tasks early
38 AB G9 forward moves tasks too late
39 AB G9 forward forgets retries
40 AB G2,G10 forward copies a task instead of moving it
41 A G9 forward moves only one batch
42 AB G10 forward ignores the group
43 AB G9 completed tasks are purged early
44 AB G10 purging keeps the task
45 AB G9 retention is ignored
46 AB G1,G10 an id conflict overwrites the task
47 ABC G1 every fifth enqueue is dropped
48 ABC G4,G10 a unique task is enqueued twice
49 AB G10 done keeps the task
50 AB G8 done is not counted
51 AB G8 archive is not counted as failed
52 AB G8 retry is not counted
53 AB G8 a retry that is not a failure is counted
54 AB G1 archive loses the task
55 AB G10 running an archived task leaves it in the archive
56 AB G3 an active task can be deleted
57 AB G10 a refused operation changes something
58 A G10 inspection changes something
59 AB G9 a group of the maximum size is not taken
60 AB G10 a set exceeds the maximum size
61 AB G9 a group is taken before the end of its grace period
62 AB G2,G10 tasks taken for aggregation stay in their group
63 AB G1 reclaiming loses the tasks of the set
64 A G9 reclaimed tasks lose their waiting time
65 D G2,G10 a call is sent again as a new call after a lost reply
66 D G1 WAIT for replicas uses another connection
67 D G1 too few replicas count as success
68 D G2,G10 too few replicas count as not applied, and the task is enqueued once more
69 D G11 a script that the server has lost is an error
70 D G1,G11 a primary that refuses writes is retried without a lookup
71 D G11 a moving slot is an error
72 A G10 a script writes before it has accessed all keys
73 D G4,G10 a script follows a moving slot to its target
74 D G10 the next call reads the reply of a cancelled one
75 D G11 a wake-up is lost with its connection
76 D G3 leases use the clock of the client
77 A G11 a full server cannot be drained
78 A G4 a task that a peer of another language created is deleted without its lock
79 AB G7 the tasks of a sequence run at the same time
80 AB G7 a task joins its sequence before others
81 AB G7 done leaves the next task of the sequence waiting
82 AB G7 deleting the head leaves its sequence waiting
83 AB G7 a retried task loses its turn
84 AB G7 a task that waits in a sequence can be run by hand
85 AB G1 a completed parent is deleted before its followers are enqueued
86 AB G1,G10 a parent is answered to two callers at once
87 AB G1 a parent whose hold has ended is never answered again
88 AB G1,G10 a stale caller lets a parent go that another one holds
89 AB G1 a parent is replaced before its followers are enqueued
90 AB G2,G10 a member that arrives twice counts twice
91 AB G2,G10 a task that waits for several runs when the first one arrives
92 AB G2 a task that waits for several never runs
93 AB G10 a result that arrives late replaces the first one
94 AB G8 a retry forgets the failed attempts before it
"""


def _read(line: str) -> Bug:
    number, layers, promises, what = line.split(maxsplit=3)
    named = tuple(layer for layer in LAYERS if layer in layers)
    return Bug(int(number), what, tuple(Promise[name] for name in promises.split(",")), named)


BUGS = {bug.number: bug for bug in map(_read, _TABLE.strip().splitlines())}
