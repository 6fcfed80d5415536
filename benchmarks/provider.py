"""A student's float32, fp16 and INT8 files under ONNX Runtime's GPU provider, beside the CPU's.

``python -m benchmarks.provider [--model NAME] [--size PIXELS]``, where ``onnxruntime-gpu`` is installed in place of
``onnxruntime``; ``--provider CPUExecutionProvider`` shows on any machine that it runs. Weights are random, and so are
the pixels. Images go from NumPy to NumPy, so that copies to the GPU and back are in it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common, material
from export.fp16 import write_fp16

CPU = "CPUExecutionProvider"
BATCHES = (1, 32)
ROUNDS = 50
"""Turns of each file and batch, at most."""
SECONDS = 5.0
"""All turns of a file and a batch together take at most so long."""


def main() -> None:
    """Measure and print one JSON object."""
    parser = common.parser_of(__doc__, "model", "size", model="mobilenetv4_conv_small", size=224)
    parser.add_argument("--provider", default="CUDAExecutionProvider")
    given = parser.parse_args()
    if given.provider not in ort.get_available_providers():
        parser.exit(2, f"{absent(given.provider)}\n")
    with common.scratch() as folder:
        files = files_of(given.model, given.size, folder)
        found = {name: measured(path, given.provider, given.size) for name, path in files.items()}
    largest = f"batch {BATCHES[-1]}"
    common.report(
        "provider",
        ratio=found["fp32"]["images_per_s"][given.provider][largest] / found["fp32"]["images_per_s"][CPU][largest],
        against=f"images/s of the float32 file under {CPU}, all cores, {largest}",
        machine=common.machine(),
        model=f"{given.model} at {given.size}, random weights",
        provider=given.provider,
        files=found,
    )


def absent(provider: str) -> str:
    """Why a provider cannot be measured."""
    there = ", ".join(ort.get_available_providers())
    return f"this ONNX Runtime has no {provider} (it has {there}): install onnxruntime-gpu in place of onnxruntime"


def files_of(model: str, size: int, folder: Path) -> dict[str, Path]:
    """The three files, as ``export`` writes them."""
    noise = np.random.default_rng(0).integers(0, 256, (16, size, size, 3), np.uint8)
    images = [Image.fromarray(pixels) for pixels in noise]
    classifier = material.random_classifier(model, size, images)
    full, quantized, _ = material.export_both(classifier, folder, images)
    half = folder / "model_fp16.onnx"
    write_fp16(full, half, material.pixels_of(classifier, images))
    return {"fp32": full, "fp16": half, "int8": quantized}


def measured(path: Path, provider: str, size: int) -> dict[str, Any]:
    """Images/s of a file by provider and batch, and how far the logits of the two providers are apart."""
    pixels = np.random.default_rng(1).normal(size=(max(BATCHES), 3, size, size)).astype(np.float32)
    sessions = {name: opened(path, name) for name in dict.fromkeys((provider, CPU))}
    logits = {name: run(session, pixels) for name, session in sessions.items()}
    return {
        "images_per_s": {
            name: {f"batch {batch}": rate(partial(run, session, pixels[:batch]), batch) for batch in BATCHES}
            for name, session in sessions.items()
        },
        "largest_difference_of_a_logit": float(np.abs(logits[provider] - logits[CPU]).max()),
        "largest_logit": float(np.abs(logits[CPU]).max()),
    }


def opened(path: Path, provider: str) -> ort.InferenceSession:
    """A session under a provider, where the CPU takes what the provider has no kernel for."""
    session = ort.InferenceSession(path, providers=list(dict.fromkeys((provider, CPU))))
    if session.get_providers()[0] != provider:
        raise SystemExit(f"{provider} is there but does not start: ONNX Runtime's own lines above say why")
    return session


def run(session: ort.InferenceSession, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [N, C] of normalized images [N, 3, S, S]."""
    logits: NDArray[np.float32] = session.run(["logits"], {"pixel_values": pixels})[0]
    return logits


def rate(call: Callable[[], object], images: int) -> float:
    """Images/s by the median of the turns."""
    call()  # the first call sets up what no later one does
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < SECONDS:
        seconds.append(common.timed(call).seconds)
    return round(images / float(np.median(seconds)), 1)


if __name__ == "__main__":
    main()
