"""Laws of limits: AcquireSlot, ReleaseSlot, TakeToken."""

from __future__ import annotations

import pytest

from asynq.protocol import ops
from asynq_conformance.lab import MINUTE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise


def acquire(holder: str, limit: int = 1, *, scope: str = "s", hold: int = MINUTE) -> ops.AcquireSlot:
    return ops.AcquireSlot(scope=scope, holder=holder, limit=limit, hold=hold)


def take(limit: int = 1, *, scope: str = "s", per: int = MINUTE) -> ops.TakeToken:
    return ops.TakeToken(scope=scope, limit=limit, per=per)


@promise("G10")
class LimitLaws(Laws):
    """Semaphores and rate limits."""

    # --- slots --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit", [1, 3])
    @promise("G3")
    def test_a_semaphore_grants_no_more_slots_than_its_limit(self, lab: Lab, limit: int) -> None:
        answers = [lab.execute(acquire(f"h{number}", limit)) for number in range(limit + 2)]
        assert answers == [True] * limit + [False] * 2

    def test_a_released_slot_is_free(self, lab: Lab) -> None:
        assert lab.execute(acquire("a"))
        assert lab.execute(ops.ReleaseSlot(scope="s", holder="a"))
        assert lab.execute(acquire("b"))

    @promise("G3")
    def test_only_the_holder_can_release_a_slot(self, lab: Lab) -> None:
        assert lab.execute(acquire("a"))
        assert not lab.execute(ops.ReleaseSlot(scope="s", holder="b"))
        assert not lab.execute(ops.ReleaseSlot(scope="other", holder="a"))
        assert not lab.execute(acquire("b"))

    @promise("G9", "G10")
    def test_a_slot_is_free_from_its_expiry(self, lab: Lab) -> None:
        assert lab.execute(acquire("a"))
        lab.advance(MINUTE - 1)
        assert not lab.execute(acquire("b"))
        lab.advance(1)
        assert lab.execute(acquire("b"))
        assert not lab.execute(ops.ReleaseSlot(scope="s", holder="a"))

    def test_acquiring_a_held_slot_again_extends_it(self, lab: Lab) -> None:
        assert lab.execute(acquire("a"))
        lab.advance(MINUTE - 1)
        assert lab.execute(acquire("a"))
        lab.advance(MINUTE - 1)
        assert not lab.execute(acquire("b"))

    def test_acquiring_a_held_slot_again_never_shortens_it(self, lab: Lab) -> None:
        assert lab.execute(acquire("a"))
        assert lab.execute(acquire("a", hold=1))
        lab.advance(MINUTE - 1)
        assert not lab.execute(acquire("b"))

    def test_a_holder_never_has_more_than_one_slot(self, lab: Lab) -> None:
        assert lab.execute(acquire("a", 2))
        assert lab.execute(acquire("a", 2))
        assert lab.execute(acquire("b", 2))
        assert lab.execute(acquire("a", 1))

    def test_semaphores_are_independent(self, lab: Lab) -> None:
        for scope in ("a", "b", "{a}", "a:b", "ü {"):
            assert lab.execute(acquire("h", scope=scope))
            assert not lab.execute(acquire("i", scope=scope))

    # --- tokens -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit", [1, 3])
    def test_an_exhausted_rate_limit_returns_a_time_to_wait(self, lab: Lab, limit: int) -> None:
        answers = [lab.execute(take(limit)) for _ in range(limit + 2)]
        assert answers == [0] * limit + [MINUTE] * 2

    @promise("G9", "G10")
    def test_a_token_is_available_again_from_the_end_of_its_period(self, lab: Lab) -> None:
        assert lab.execute(take()) == 0
        lab.advance(MINUTE - 1)
        assert lab.execute(take()) == 1
        lab.advance(1)
        assert lab.execute(take()) == 0

    def test_no_period_contains_more_tokens_than_the_limit(self, lab: Lab) -> None:
        taken: list[int] = []
        for _ in range(60):
            if lab.execute(take(4, per=10 * SECOND)) == 0:
                taken.append(lab.now)
            lab.advance(700)
        assert all(later - earlier >= 10 * SECOND for earlier, later in zip(taken, taken[4:], strict=False))
        assert len(taken) > 14

    @promise("G9")
    def test_a_token_is_available_after_the_returned_time(self, lab: Lab) -> None:
        for _ in range(3):
            assert lab.execute(take(3)) == 0
            lab.advance(7 * SECOND)
        wait = lab.execute(take(3))
        assert wait == MINUTE - 21 * SECOND
        lab.advance(wait)
        assert lab.execute(take(3)) == 0

    def test_a_refused_request_takes_no_token(self, lab: Lab) -> None:
        assert lab.execute(take()) == 0
        for _ in range(5):
            lab.advance(10 * SECOND)
            assert lab.execute(take()) > 0
        lab.advance(10 * SECOND)
        assert lab.execute(take()) == 0

    def test_the_limit_of_a_rate_can_change(self, lab: Lab) -> None:
        for _ in range(3):
            assert lab.execute(take(3)) == 0
        assert lab.execute(take(5)) == 0
        assert lab.execute(take(2)) > 0
        lab.advance(MINUTE)
        assert [lab.execute(take(2)) for _ in range(3)] == [0, 0, MINUTE]

    def test_rate_limits_are_independent(self, lab: Lab) -> None:
        assert lab.execute(acquire("h", scope="a"))
        for scope in ("a", "b", "{a}", "a:b", "ü {"):
            assert lab.execute(take(scope=scope)) == 0
            assert lab.execute(take(scope=scope)) > 0
