"""Fixed programs of followers and joins: every end of a parent, and every arrival at a task that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq_conformance.machine.directed_management import ManagementPrograms
from asynq_conformance.machine.domain import HOLD, HOUR, LEASE, SECOND, message
from asynq_conformance.machine.followers import joining, parent
from asynq_conformance.machine.tasks import RUN_SETTLEMENTS

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage


class FollowerPrograms(ManagementPrograms):
    """Programs of parents and of tasks that wait for several others, with given steps."""

    def follow(self) -> None:
        """Parents that are taken, held, taken again, and let go in every way."""
        self.take_parents_of("a", about="missing")
        self._succeed(message("a", "other", b"one", None))
        for task_id in ("first", "second", "third"):
            self._succeed(parent(message("a", task_id, b"one", None)))
        self._succeed(parent(message("b", "elsewhere", b"one", None)), how="complete with a result")
        self.do(ops.PurgeCompleted(queue="a"), about=self.system.find("a", "first"))
        self._replace("first")
        [early] = self.take_parents_of("a", limit=1)
        self._replace("first")
        held = self.take_parents_of("a")
        self.take_parents_of("a", about="second")
        self.wait(HOLD - SECOND)
        self.take_parents_of("a", about="second")
        self.wait(2 * SECOND)
        [again, *others] = self.take_parents_of("a")
        self.finish_parent(early)
        self.finish_parent(held[0])
        for one, retention in ((again, HOUR), (others[0], 0)):
            for _ in range(2):
                self.finish_parent(one, retention)
        self.do(ops.RunTask(queue="a", task_id="third"), about=self.system.find("a", "third"))
        self.finish_parent(others[1])
        self.dequeue((("a",),), LEASE)
        self.finish_parent(others[1])
        self.do_with(self.runs[-1], RUN_SETTLEMENTS["complete"])
        self.finish_parent(others[1])
        for _ in range(2):
            self.wait(HOUR)
            self.do(ops.PurgeCompleted(queue="a"), about=self.system.find("a", "third"))
        self._let_all_go()

    def fail_to_succeed(self) -> None:
        """Parents whose runs end in another way than success are not taken."""
        for how in ("retry", "archive", "requeue"):
            self.enqueue(parent(message("a", how, b"one", None)))
            self.dequeue((("a",),), LEASE)
            self.do_with(self.runs[-1], RUN_SETTLEMENTS[how])
            self.take_parents_of("a", about=how)
        self._replace("archive")
        self.take_parents_of("a", about="archive")

    def join(self) -> None:
        """Members that arrive once, twice, late, and at tasks that do not wait or are gone."""
        self._arrive("missing", 0, 1)
        for task_id in ("all", "by hand", "archived", "deleted"):
            self.enqueue(joining("a", task_id, 2))
        self.enqueue(message("a", "later", b"one", None), process_in=HOUR)
        self._arrive("later", 0, 2)
        self._arrive("all", 0, 2, "of another", member_id="other")
        self.do(ops.UpdateTask(queue="a", task_id="all", process_in=HOUR), about=self.system.find("a", "all"))
        for member, result in ((1, "one"), (1, "one"), (1, "another"), (0, "zero"), (0, "late")):
            self._arrive("all", member, 2, result)
        for verb, task_id in (
            (ops.RunTask, "by hand"),
            (ops.ArchiveTask, "archived"),
            (ops.DeleteTask, "deleted"),
        ):
            self._arrive(task_id, 0, 2)
            self.do(verb(queue="a", task_id=task_id), about=self.system.find("a", task_id))
            self._arrive(task_id, 1, 2)
        self.do(ops.Forward(queue="a"))
        self.dequeue((("a",),) * 3, LEASE)
        self._arrive("all", 1, 2, "late")
        self.do_with(self.runs[-1], RUN_SETTLEMENTS["retry"])
        self._arrive("by hand", 1, 2)

    # --- steps ----------------------------------------------------------------------------------------

    def _succeed(self, new: TaskMessage, how: str = "complete") -> None:
        """Enqueue, run and complete a task. No other is completed in its second."""
        self.enqueue(new)
        self.dequeue(((new.queue,),), LEASE)
        self.do_with(self.runs[-1], RUN_SETTLEMENTS[how])
        self.wait(2 * SECOND)

    def _let_all_go(self) -> None:
        for queue in "ab":
            for taken in self.take_parents_of(queue):
                self.finish_parent(taken)

    def _replace(self, task_id: str) -> None:
        self.enqueue(message("a", task_id, b"two", None), on_conflict="replace_finished")

    def _arrive(
        self, task_id: str, member: int, members: int, result: str = "-", *, member_id: str = ""
    ) -> None:
        self.arrive_at("a", task_id, member, members, result, member_id=member_id)
