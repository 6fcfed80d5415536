"""How long one image takes, on one thread."""

import time
from pathlib import Path

import numpy as np

from export.runtime import OnnxClassifier
from run.files import Json

WARM_UP = 3
RUNS = 100
SECONDS = 15.0
"""Measuring stops after ``RUNS`` runs or this long, whichever is first, but not before five runs."""


def latency(path: Path) -> dict[str, Json]:
    """p50 and p95 in milliseconds of inference alone: batch 1, one thread of ONNX Runtime on this CPU."""
    model = OnnxClassifier(path, threads=1)
    size = model.spec.size
    image = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    for _ in range(WARM_UP):
        model.logits(image)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 5 or (len(times) < RUNS and time.perf_counter() - started < SECONDS):
        before = time.perf_counter()
        model.logits(image)
        times.append(1000 * (time.perf_counter() - before))
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "threads": 1, "runs": len(times)}
