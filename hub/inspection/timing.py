"""The latency of one image on one thread: a median of few runs, within bounds."""

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.limits import within_time
from export.runtime import processor
from export.session import ort_errors
from export.timing import take_turns
from hub.inspection.record import Tensor, Timing
from models.spec import LARGEST
from run.errors import UserError

ROUNDS = 15
SECONDS = 4.0
SLOW_S = 5.0
"""A first run that takes longer stands for all."""
MOST_SECONDS = 60
"""Of one run."""
SIDES = {"height": 480, "width": 640}
"""A photograph, for a file that takes any size."""
ANY_SIDE = 224
_TYPES = {
    "float": np.float32,
    "float16": np.float16,
    "double": np.float64,
    "uint8": np.uint8,
    "int8": np.int8,
    "int32": np.int32,
    "int64": np.int64,
}


def time_call(call: Callable[[], object], runtime: str, first_call: Callable[[], object] | None = None) -> Timing:
    """Time a call; a slow one once, others in rounds.

    Args:
        first_call: the same, with bounds that the others do without, because this one kept them.
    """
    started = time.perf_counter()
    (first_call or call)()
    first = time.perf_counter() - started
    times = [1000 * first] if first > SLOW_S else take_turns([call], ROUNDS, SECONDS)[0]
    return Timing(ms=round(float(np.median(times)), 3), runs=len(times), runtime=runtime, processor=processor())


def try_session(session: ort.InferenceSession, shapes: dict[str, list[int]]) -> tuple[Timing | None, str | None]:
    """Time an open file on noise of these shapes; else the reason why it cannot be: it takes no image, or too long."""
    names = [output.name for output in session.get_outputs()]
    try:
        feeds = {given.name: _noise(given.type, shapes[given.name]) for given in session.get_inputs()}
        bounded = partial(within_time, lambda options: session.run(names, feeds, options), MOST_SECONDS)
        return time_call(lambda: session.run(names, feeds), f"ONNX Runtime {ort.__version__}", bounded), None
    except UserError as error:
        return None, str(error)
    except ort_errors() as error:
        return None, f"it cannot be run on noise: {str(error).splitlines()[0][:200]}"


def shapes_of_one(inputs: tuple[Tensor, ...]) -> dict[str, list[int]]:
    """The shape of each input for one image: sides that differ from run to run get a length."""
    return {given.name: [_length(given, index) for index in range(len(given.shape))] for given in inputs}


def _length(given: Tensor, index: int) -> int:
    side = given.shape[index]
    if isinstance(side, int):
        return side
    if len(given.shape) == 3:  # an rgb.onnx, which takes no batch
        return list(SIDES.values())[min(index, 1)]
    return 1 if index == 0 else ANY_SIDE


def _noise(kind: str, shape: list[int]) -> NDArray[np.generic]:
    name = kind.removeprefix("tensor(").removesuffix(")")
    if name not in _TYPES:
        raise UserError(f"it takes {kind}, and no image")
    if min(shape, default=1) < 1 or math.prod(shape) > 3 * LARGEST**2:
        raise UserError(f"it takes {' × '.join(map(str, shape))} numbers at a time")
    generator = np.random.default_rng(0)
    if np.issubdtype(_TYPES[name], np.integer):
        return generator.integers(0, 128, shape).astype(_TYPES[name])
    return generator.standard_normal(shape).astype(_TYPES[name])
