"""The cache whose answers have an age."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from remediate.timed_cache import TimedCache


class Clock:
    """Seconds that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def never() -> int:
    raise AssertionError("looked up again")


def test_an_answer_is_kept_until_its_age() -> None:
    clock, answers = Clock(), count()
    cache = TimedCache[str, int](60.0, 10, clock)
    assert cache.get("a", answers.__next__) == 0
    clock.now = 59.9
    assert cache.get("a", never) == 0
    assert cache.get("b", answers.__next__) == 1
    clock.now = 60.0
    assert cache.get("a", answers.__next__) == 2
    assert cache.get("b", never) == 1


def test_an_age_counts_from_before_the_look_up() -> None:
    clock = Clock()
    cache = TimedCache[str, int](60.0, 10, clock)

    def slow() -> int:
        clock.now = 50.0
        return 1

    assert cache.get("a", slow) == 1
    clock.now = 60.0
    assert cache.get("a", lambda: 2) == 2


def test_none_is_an_answer() -> None:
    cache = TimedCache[str, int | None](60.0, 10, Clock())
    assert cache.get("a", lambda: None) is None
    assert cache.get("a", never) is None


def test_an_answer_that_is_not_good_is_neither_kept_nor_given_again() -> None:
    cache = TimedCache[str, int](60.0, 10, Clock())
    assert cache.get("a", lambda: 0, is_good=bool) == 0
    assert cache.get("a", lambda: 1, is_good=bool) == 1
    assert cache.get("a", never, is_good=bool) == 1
    assert cache.get("a", lambda: 2, is_good=lambda answer: answer > 1) == 2


def test_an_error_is_not_kept_and_leaves_no_answer() -> None:
    cache = TimedCache[str, int](60.0, 10, Clock())
    with pytest.raises(AssertionError, match="looked up again"):
        cache.get("a", never)
    assert cache.get("a", lambda: 1) == 1


def test_it_never_has_more_than_its_most() -> None:
    cache = TimedCache[int, int](60.0, 2, Clock())
    assert [cache.get(key, lambda key=key: key) for key in range(2)] == [0, 1]  # type: ignore[misc]
    assert cache.get(0, never) == 0
    assert cache.get(2, lambda: 2) == 2  # full: it begins anew
    assert cache.get(2, never) == 2
    assert cache.get(0, lambda: 3) == 3


def test_a_key_that_it_has_is_kept_anew_without_forgetting_the_others() -> None:
    clock = Clock()
    cache = TimedCache[int, int](60.0, 2, clock)
    assert cache.get(0, lambda: 0) == 0
    clock.now = 30.0
    assert cache.get(1, lambda: 1) == 1
    clock.now = 60.0
    assert cache.get(0, lambda: 5) == 5
    assert cache.get(1, never) == 1


def test_one_answer_may_have_other_keys_of_the_same_age() -> None:
    clock = Clock()
    cache = TimedCache[str, int](60.0, 10, clock)

    def slow() -> int:
        clock.now = 50.0
        return 7

    assert cache.get("id", slow, also=lambda _: ("number",)) == 7
    assert cache.get("number", never) == 7
    clock.now = 60.0
    assert cache.get("number", lambda: 8) == 8


def test_threads_may_share_it() -> None:
    cache = TimedCache[int, int](60.0, 3, Clock())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: cache.get(number % 7, lambda: number % 7), range(2000)))
    assert answers == [number % 7 for number in range(2000)]
