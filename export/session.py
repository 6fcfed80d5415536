"""The one way to open an ONNX file in ONNX Runtime, and to run it over images."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from run.usage import thread_limit, usable_cores

if TYPE_CHECKING:  # importing torch takes seconds, and a runtime does without it
    from export.images import Pixels

T = TypeVar("T")
R = TypeVar("R")

MOST_AT_A_TIME = 16
"""Images that go through a file at once; each has activations of its own."""


def open_session(path: Path, threads: int | None = None, *, optimize: bool = True) -> ort.InferenceSession:
    """Open a file on the CPU; null threads take every core.

    Args:
        optimize: let ONNX Runtime fuse nodes; without it, every tensor of the graph is there to be looked at.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or thread_limit() or 0
    # What goes wrong is raised. ONNX Runtime's own lines go to the terminal as they are, with names out of the file.
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ort_errors() -> tuple[type[Exception], ...]:
    """Errors of ONNX Runtime about what it cannot run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException)


def side_by_side(run: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results in order, of as many items at a time as there are cores.

    Args:
        run: opens no more than one thread itself, or threads wait for each other.
    """
    with ThreadPoolExecutor(min(usable_cores(), MOST_AT_A_TIME)) as pool:
        return list(pool.map(run, items))


def run_one_by_one(session: ort.InferenceSession, pixels: "Pixels") -> NDArray[np.float32]:
    """Logits [N, C] of images [N, 3, S, S], each in a batch of its own, in a session on one thread."""
    # Dynamic INT8 takes its scales from a whole batch, so that the other images in it would change an image's logits.
    found = side_by_side(
        lambda place: session.run(["logits"], {"pixel_values": pixels[place : place + 1]})[0], range(len(pixels))
    )
    return np.concatenate(found)


def one_inference(path: Path, image: NDArray[np.float32], threads: int = 1) -> Callable[[], object]:
    """One inference of one image [1, 3, S, S], to be timed."""
    session = open_session(path, threads)
    return lambda: session.run(["logits"], {"pixel_values": image})
