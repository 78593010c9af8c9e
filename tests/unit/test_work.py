"""The wait between two tries: drawn below a bound that doubles, never shrinks, and has a cap."""

import random

from hypothesis import given
from hypothesis import strategies as st

from jobs import work

BASES, CAPS = st.floats(0.01, 5), st.floats(0.1, 600)


def bound(attempts: int, base: float, cap: float) -> float:
    """The longest wait seen in many draws, as near to the bound as no matter."""
    random.seed(7)
    return max(work.backoff(attempts, base, cap).total_seconds() for _ in range(200))


@given(attempts=st.integers(0, 10**6), base=BASES, cap=CAPS, seed=st.integers())
def test_a_wait_is_never_negative_and_never_above_the_cap(attempts: int, base: float, cap: float, seed: int) -> None:
    random.seed(seed)
    assert 0 <= work.backoff(attempts, base, cap).total_seconds() <= cap + 1e-6


@given(attempts=st.integers(0, 60), base=BASES, cap=CAPS)
def test_the_bound_never_shrinks_from_one_try_to_the_next(attempts: int, base: float, cap: float) -> None:
    assert bound(attempts + 1, base, cap) >= bound(attempts, base, cap) - 1e-6


def test_the_bound_doubles_below_its_cap() -> None:
    assert round(bound(3, 0.5, 60) / bound(2, 0.5, 60), 3) == 2.0
