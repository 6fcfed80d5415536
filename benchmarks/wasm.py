"""A student in the WASM build of ONNX Runtime: its answers beside Python's, and its milliseconds.

``python -m benchmarks.wasm [--quick]``. Needs node and npm, which installs onnxruntime-web into a temporary folder, and
the ``demo`` extra for its photographs. Weights are random. One thread, in node, whose WASM is that of Chromium.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common
from benchmarks.npm import CannotRunError, fetch
from export.page.runtime import PACKAGE

STUDENT = ("mobilenetv4_conv_small", 224)
RUNNER = Path(__file__).with_name("wasm_runner.mjs")


@dataclass(frozen=True)
class Job:
    """One input to one file, and how many times it is timed."""

    model: Path | str
    """A file, or an address that it is fetched from."""
    values: NDArray[Any]
    input: str
    rounds: int = 0


def install(folder: Path, *more: str) -> None:
    """Put onnxruntime-web and the runner into a folder, and more packages where they are given.

    Raises:
        CannotRunError: there is no node or no npm, or npm cannot fetch the package.
    """
    fetch(folder, PACKAGE, *more)
    shutil.copyfile(RUNNER, folder / RUNNER.name)


def run(folder: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """``outputs`` (lists by name) and ``ms`` (median; null without rounds) of each job, where ``install`` has been."""
    with tempfile.TemporaryDirectory() as work:  # not in the folder: several processes may share it
        written = []
        for number, job in enumerate(jobs):
            data = Path(work) / f"{number}.bin"
            data.write_bytes(job.values.tobytes())
            written.append(
                {
                    "model": job.model if isinstance(job.model, str) else str(job.model.resolve()),
                    "input": job.input,
                    "type": str(job.values.dtype),
                    "shape": list(job.values.shape),
                    "data": str(data),
                    "rounds": job.rounds,
                }
            )
        path = Path(work) / "jobs.json"
        path.write_text(json.dumps(written), encoding="utf-8")
        command = ["node", RUNNER.name, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Of each body: megabytes, milliseconds, and how far a probability is at most from the same file's in Python."""
    from benchmarks.material import export_both, photographs, pixels_of, random_classifier
    from export.rgb import write_rgb
    from export.runtime import RgbClassifier

    install(folder)
    images = photographs(16)
    classifier = random_classifier(*STUDENT, images)
    full, quantized, _ = export_both(classifier, folder, images)
    sizes = [(640, 480), (1600, 1200), (90, 400), (1, 1)]
    pictures = [image.resize(size) for image, size in zip(images, sizes, strict=False)]
    rows: dict[str, dict[str, float]] = {}
    for name, model in (("fp32", full), ("INT8", quantized)):
        rgb = folder / f"rgb_{name}.onnx"
        write_rgb(model, rgb)
        bare = run(folder, [Job(model, pixels_of(classifier, images[:1]), "pixel_values", rounds)])[0]
        timed = [rounds if index < 2 else 0 for index in range(len(pictures))]
        found = run(
            folder, [Job(rgb, np.asarray(one), "image", count) for one, count in zip(pictures, timed, strict=True)]
        )
        rows[name] = {
            "MB": rgb.stat().st_size / 1e6,
            "model": bare["ms"],
            "rgb.onnx, 640 × 480": found[0]["ms"],
            "rgb.onnx, 1600 × 1200": found[1]["ms"],
            "largest": largest_difference(RgbClassifier(rgb), pictures, found),
        }
    return rows


def largest_difference(model: Any, pictures: Sequence[Image.Image], found: Sequence[dict[str, Any]]) -> float:
    """Between the outputs of an ``RgbClassifier`` in Python and what ``run`` found of the same pictures."""
    differences = [
        np.abs(expected - np.array(result["outputs"][name])).max()
        for picture, result in zip(pictures, found, strict=True)
        for name, expected in model.outputs(picture).items()
    ]
    return float(np.max(differences))


def main() -> None:
    """Measure and print."""
    given = common.parser_of(__doc__, "quick").parse_args()
    rounds = 3 if given.quick else 50
    with common.scratch() as folder:
        try:
            found = measure(folder, rounds)
        except CannotRunError as error:
            sys.exit(f"benchmarks.wasm: {error}")
    for name in found["fp32"]:
        print(f"{name:24}" + "".join(f"{kind} {row[name]:<10.4g}" for kind, row in found.items()))
    common.report(
        "wasm",
        ratio=found["INT8"]["model"] / found["fp32"]["model"],
        against=f"milliseconds an image of the fp32 file of {STUDENT[0]} in WASM, one thread",
        machine=f"{common.machine()}, onnxruntime-web in node",
        rounds=rounds,
        **found,
    )


if __name__ == "__main__":
    main()
