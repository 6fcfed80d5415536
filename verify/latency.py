"""Latency of exported files, and the record of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from export.runtime import OnnxClassifier, RgbClassifier, processor
from export.timing import take_turns
from run.errors import UserError, quoted
from verify.certificate import Latency

SECONDS = 15.0
"""No inference begins later than this, once there are five."""


def measure_latency(model: OnnxClassifier) -> Latency:
    """Time inference alone, one image at a time, with the threads the model was opened with.

    An ``rgb.onnx`` gets an image of 640 × 480, and its resize is part of the time; any other file gets its own size.
    """
    (times,) = take_turns([_inference(model)], seconds=SECONDS)
    p50, p95 = np.percentile(times, [50, 95])
    assert model.threads is not None, "a latency says nothing without its number of threads"
    return Latency(p50=float(p50), p95=float(p95), threads=model.threads, runs=len(times), processor=processor())


def read_latencies(path: Path) -> dict[str, Latency]:
    """Read the latencies by file that ``verify.measure`` wrote.

    Raises:
        UserError: it does not exist, or is damaged.
    """
    try:
        return TypeAdapter(dict[str, Latency]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{quoted(path)} is damaged: remove it, and run `pocketeva verify` again") from error


def _inference(model: OnnxClassifier) -> Callable[[], object]:
    # Noise, and no image of the user's: latencies of runs with other data are compared.
    generator = np.random.default_rng(0)
    if isinstance(model, RgbClassifier):
        photograph = Image.fromarray(generator.integers(0, 256, (480, 640, 3), np.uint8))
        return lambda: model.outputs(photograph)
    image = generator.normal(size=(1, 3, model.spec.size, model.spec.size)).astype(np.float32)
    return lambda: model.logits(image)
