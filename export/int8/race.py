"""How long files take, measured side by side."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

WARM_UP = 3
ROUNDS = 100
SECONDS = 8.0
"""A race ends after ``ROUNDS`` rounds or this long, whichever is first, but not before five rounds."""

Runner = Callable[[], object]


def session(path: Path, threads: int = 0) -> ort.InferenceSession:
    """A session on the CPU; 0 threads takes every core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def once(path: Path, image: NDArray[np.float32], threads: int = 1) -> Runner:
    """One inference of one image [1, 3, S, S], to be timed."""
    model = session(path, threads)
    return lambda: model.run(["logits"], {"pixel_values": image})


def race(runners: Sequence[Runner], rounds: int = ROUNDS, seconds: float = SECONDS, pause: float = 0.0) -> list[float]:
    """Median milliseconds of each runner, as ``take_turns`` measures them."""
    return [float(np.median(taken)) for taken in take_turns(runners, rounds, seconds, pause)]


def take_turns(
    runners: Sequence[Runner], rounds: int = ROUNDS, seconds: float = SECONDS, pause: float = 0.0
) -> list[list[float]]:
    """Milliseconds of every turn of each runner; what slows the machine slows all of them alike.

    With more than one thread, a pause in seconds before each turn lets the other sessions' threads stop spinning.
    """
    times: list[list[float]] = [[] for _ in runners]
    for runner in runners:
        for _ in range(WARM_UP):
            runner()
    started = time.perf_counter()
    while len(times[0]) < 5 or (len(times[0]) < rounds and time.perf_counter() - started < seconds):
        for runner, taken in zip(runners, times, strict=True):
            time.sleep(pause)
            before = time.perf_counter()
            runner()
            taken.append(1000 * (time.perf_counter() - before))
    return times
