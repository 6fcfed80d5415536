"""Timing of calls, side by side."""

import time
from collections.abc import Callable, Sequence

import numpy as np

WARM_UP = 3
ROUNDS = 50
FEWEST = 5
SECONDS = 8.0
"""Measuring ends after ``ROUNDS`` rounds or this long, whichever is first, but not before the fewest."""

Call = Callable[[], object]


def race(calls: Sequence[Call], rounds: int | None = None) -> list[float]:
    """Median milliseconds of each call, as ``take_turns`` measures them."""
    return [float(np.median(taken)) for taken in take_turns(calls, rounds)]


def take_turns(
    calls: Sequence[Call], rounds: int | None = None, seconds: float = SECONDS, pause: float = 0.0
) -> list[list[float]]:
    """Milliseconds of every turn of each call; what slows the machine slows all of them alike.

    Args:
        rounds: most turns of each; null takes ``ROUNDS``.
        seconds: no round begins later than this, once there are ``FEWEST``.
        pause: seconds before each turn; with more than one thread, the other sessions' threads stop spinning meanwhile.
    """
    times: list[list[float]] = [[] for _ in calls]
    most = rounds or ROUNDS
    for call in calls:
        for _ in range(WARM_UP):
            call()
    started = time.perf_counter()
    while len(times[0]) < FEWEST or (len(times[0]) < most and time.perf_counter() - started < seconds):
        # One turn of each and not one call after the other: a busy minute would be charged to one of them.
        for call, taken in zip(calls, times, strict=True):
            time.sleep(pause)
            before = time.perf_counter()
            call()
            taken.append(1000 * (time.perf_counter() - before))
    return times
