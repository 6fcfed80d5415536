"""Measuring a release on its test images, beside running its models alone: the price of reading, decoding and keeping.

``python -m benchmarks.measure [--images 2000] [--model NAME] [--size 224]``. Quick: ``--images 200 --turns 1``.
The teacher: ``--model eva02_base_patch14_448 --size 448 --fp32 --images 20 --turns 1``.

Needs the ``demo`` extra for its photographs. "measure" is ``verify.chunks.run_over``, from the files to the kept logits
of an fp32 and an INT8 file; "models" is the same two sessions in as many threads, over pixels that are ready; "loop" is
the shortest program that would do: it decodes and prepares each image once, runs both sessions and keeps the logits in
memory. Weights are random, which is enough for speed. A student is the hard case: the larger the model, the less the
rest weighs.
"""

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common, material
from data.config import DataConfig
from data.loaders import load
from data.manifest import Manifest
from data.prepare import prepare
from export.onnx_file import write_onnx
from export.release import open_onnx
from export.reparameterize import fuse
from export.runtime import OnnxClassifier
from run.folder import RunFolder
from verify.chunks import run_over
from verify.measure import brightness

READY = 64
"""Images that the models alone are run over, again and again."""


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "turns", model="mobilenetv4_conv_small", size=224, turns=3)
    parser.add_argument("--images", type=int, default=2000, help="of the 2,624 photographs")
    parser.add_argument("--fp32", action="store_true", help="no INT8 file, which takes large models minutes to make")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    cores = common.core_counts()[-1]
    with common.scratch() as root:
        rows = prepare(RunFolder(root / "run"), material.LABELS, DataConfig(format="elpv"))
        rows = Manifest(rows.labels, rows.table.slice(0, given.images))
        models = exported(root, given.model, given.size, int8=not given.fp32)
        ready = [[model.prepare([load(uri)]) for model in models.values()] for uri in rows.column("uri")[:READY]]
        fresh = (root / f"chunks-{number}" for number in count())
        sides = {
            f"{side}, {workers} threads": run
            for workers in common.core_counts()
            for side, run in (
                ("measure", lambda workers=workers: len(rows) / measured(rows, models, next(fresh), workers)),
                ("models", lambda workers=workers: len(rows) / alone(models, ready, len(rows), workers)),
                ("loop", lambda workers=workers: len(rows) / looped(rows, models, workers)),
            )
        }
        rates = common.best(common.in_turns(sides, given.turns))
    together, single = rates[f"measure, {cores} threads"], rates["measure, 1 threads"]
    common.report(
        "measure",
        ratio=round(rates[f"models, {cores} threads"] / together, 3),
        against=f"seconds of the models alone, in as many threads ({cores})",
        ratio_to_loop=round(rates[f"loop, {cores} threads"] / together, 3),
        machine=common.machine(),
        model=f"{given.model} at {given.size}, {'fp32' if given.fp32 else 'fp32 and INT8'}, random weights",
        images=len(rows),
        images_a_second=rates,
        speedup=round(together / single, 2),
    )


def exported(root: Path, name: str, size: int, *, int8: bool) -> dict[str, OnnxClassifier]:
    """Files of a model, opened as measuring opens them."""
    images = material.photographs(16)
    classifier = material.random_classifier(name, size, images)
    if int8:
        material.export_both(classifier, root, images)
    else:
        write_onnx(fuse(classifier), root / "model.onnx", opset=18, facts={})
    return {path.stem: open_onnx(path, threads=1) for path in sorted(root.glob("*.onnx"))}


def measured(rows: Manifest, models: Mapping[str, OnnxClassifier], folder: Path, workers: int) -> float:
    """Seconds of measuring into an empty folder."""
    functions = {name: model.logits_of for name, model in models.items()}
    return common.timed(lambda: run_over(rows, {**functions, "brightness": brightness}, folder, workers)).seconds


def alone(
    models: Mapping[str, OnnxClassifier], ready: list[list[NDArray[np.float32]]], images: int, workers: int
) -> float:
    """Seconds of the models over so many images that are ready."""

    def run_one(pixels: list[NDArray[np.float32]]) -> None:
        for model, values in zip(models.values(), pixels, strict=True):
            model.logits(values)

    with ThreadPoolExecutor(workers) as pool:
        return common.timed(lambda: list(pool.map(run_one, islice(cycle(ready), images)))).seconds


def looped(rows: Manifest, models: Mapping[str, OnnxClassifier], workers: int) -> float:
    """Seconds of a program that keeps nothing but the logits."""
    spec = next(iter(models.values())).spec

    def run_one(uri: str) -> list[NDArray[np.float32]]:
        with Image.open(uri) as image:
            values = spec.normalize(spec.render(image.convert("RGB"))[None])
        return [model.logits(values) for model in models.values()]

    with ThreadPoolExecutor(workers) as pool:
        return common.timed(lambda: list(pool.map(run_one, rows.column("uri")))).seconds


if __name__ == "__main__":
    common.start_like_the_product()
    main()
