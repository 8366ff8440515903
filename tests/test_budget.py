"""The request budget: never more than it in any minute, and always something left for the list of rooms."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.gateway.budget import LEAST_BUDGET, WINDOW_S, Budget, Share

budgets = st.integers(LEAST_BUDGET, 2_000)
steps = st.lists(
    st.tuples(
        st.floats(0.0, 20.0),
        st.sampled_from(Share),
        st.integers(1, 400),
        st.integers(0, 30),
    ),
    max_size=60,
)


class Minute:
    """What was sent, by whomever, at a time that tests set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent = 0
        self._times: deque[float] = deque()

    def send(self, count: int = 1) -> None:
        self.sent += count
        self._times.extend([self.now] * count)

    def last(self) -> int:
        while self._times and self._times[0] < self.now - WINDOW_S:
            self._times.popleft()
        return len(self._times)

    def budget(self, per_minute: int) -> Budget:
        return Budget(per_minute, lambda: self.sent, self.last)

    def spend(self, budget: Budget, share: Share, at_most: int = 10_000) -> int:
        """Send as many as it allows; how many that were."""
        for count in range(at_most):
            if not budget.take(share, self.now, budget.interval(2.0)):
                return count
            self.send()
            assert self.last() <= budget.per_minute
        return at_most


@given(budgets, steps)
def test_no_minute_holds_more_requests_than_the_budget(
    per_minute: int, asked: list[tuple[float, Share, int, int]]
) -> None:
    minute = Minute()
    budget = minute.budget(per_minute)
    for wait, share, wanted, of_others in asked:
        minute.now += wait
        minute.send(of_others)
        minute.spend(budget, share, wanted)


@given(budgets, st.sampled_from([Share.URGENT, Share.BACKGROUND]))
def test_whatever_reads_took_the_next_listing_fits(per_minute: int, share: Share) -> None:
    minute = Minute()
    budget = minute.budget(per_minute)
    for _ in range(100):
        assert minute.spend(budget, Share.LISTING, 1) == 1
        minute.spend(budget, share)
        minute.now += budget.interval(2.0)


@given(budgets)
def test_reads_have_their_turn_at_any_budget_and_a_key_press_goes_before_them(per_minute: int) -> None:
    minute = Minute()
    budget = minute.budget(per_minute)
    minute.spend(budget, Share.LISTING, 1)
    assert minute.spend(budget, Share.BACKGROUND) >= 1
    if per_minute >= 20:
        assert minute.spend(budget, Share.URGENT) >= 1


@given(budgets, st.sampled_from([Share.URGENT, Share.BACKGROUND]))
def test_the_wait_it_names_is_long_enough_and_not_much_longer(per_minute: int, share: Share) -> None:
    minute = Minute()
    budget = minute.budget(per_minute)
    minute.spend(budget, share)
    wait = budget.wait(share, 0.0)
    minute.now = wait - 0.01
    assert minute.spend(budget, share, 1) == 0
    minute.now = wait
    assert minute.spend(budget, share, 1) == 1


def test_what_others_send_is_taken_from_the_reads() -> None:
    minute = Minute()
    budget = minute.budget(600)
    assert minute.spend(budget, Share.URGENT) == 150
    minute.now = 10.0
    minute.send(70)
    assert minute.spend(budget, Share.URGENT) == 5
    assert minute.spend(budget, Share.LISTING, 1) == 1


def test_a_minute_used_up_by_others_is_waited_out() -> None:
    minute = Minute()
    budget = minute.budget(600)
    minute.send(600)
    assert minute.spend(budget, Share.LISTING, 1) == 0
    assert 0 < budget.wait(Share.LISTING, 0.0) <= 1.0
    minute.now = 61.0
    assert minute.spend(budget, Share.LISTING, 1) == 1


def test_listings_never_take_over_half_of_the_pace() -> None:
    minute = Minute()
    assert minute.budget(600).interval(2.0) == 2.0
    assert minute.budget(10).interval(2.0) == pytest.approx(20.0)


def test_a_budget_too_small_to_list_rooms_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        Minute().budget(9)
