"""How long one image takes."""

import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from export.runtime import OnnxClassifier, RgbClassifier
from run.files import Json

WARM_UP = 3
RUNS = 100
SECONDS = 15.0
"""Measuring stops after ``RUNS`` runs or this long, whichever is first, but not before five runs."""


def latency(model: OnnxClassifier) -> dict[str, Json]:
    """p50 and p95 in milliseconds of inference alone, one image at a time, with the threads the model was opened with.

    An ``rgb.onnx`` gets an image of 640 × 480, and its resize is part of the time; any other file gets its own size.
    """
    once = _runner(model)
    for _ in range(WARM_UP):
        once()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 5 or (len(times) < RUNS and time.perf_counter() - started < SECONDS):
        before = time.perf_counter()
        once()
        times.append(1000 * (time.perf_counter() - before))
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "threads": model.threads, "runs": len(times)}


def _runner(model: OnnxClassifier) -> Callable[[], object]:
    generator = np.random.default_rng(0)
    if isinstance(model, RgbClassifier):
        photograph = Image.fromarray(generator.integers(0, 256, (480, 640, 3), np.uint8))
        return lambda: model.outputs(photograph)
    image = generator.normal(size=(1, 3, model.spec.size, model.spec.size)).astype(np.float32)
    return lambda: model.logits(image)
