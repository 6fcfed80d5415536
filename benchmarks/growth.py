"""Time and peak memory of the view cache and of the head's training as the number of images grows.

``python -m benchmarks.growth [--images 1000 10000 100000] [--views 1]``

Each phase of each size runs in a process of its own, so that its peak memory is its own; ``imported`` is what that
process held before it began. The phases: ``logits`` fills a cache of logits, ``read`` reads all of them once in random
batches, ``features`` fills a cache of features, ``head`` solves a head on these. Peak memory is the resident set, so it
counts pages of the memory-mapped cache, which the system may take back at any time; worker processes are not in it.

The teacher is tiny (``test_vit`` at 32 px), and the rows are synthetic: each has an id and therefore views of its own,
but all share 64 small PNG files. So this shows how things grow, not how fast a real teacher or disk is.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import common, material
from cache.frozen import FrozenModel
from cache.read import Outputs
from data.examples import Examples
from data.loaders import EpochSampler
from data.manifest import Manifest
from models.forward import Output
from run.config import TrainerConfig
from train.config import TeacherConfig
from train.head import fit_head

PHASES = ("logits", "read", "features", "head")
FILES = 64
FILE_SIZE = (48, 48)
VALIDATED_SHARE = 10
"""One image of so many is held out."""
BATCH = 512


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "size", "views", *common.TRAINER, size=32, views=1)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--teacher", default="test_vit")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    if given.phase:
        print(json.dumps(one_phase(given)))
        return
    same = sys.argv[1:]
    growth: list[dict[str, Any]] = []
    with common.scratch() as folder:
        paths = material.write_photographs(folder / "images", FILES, FILE_SIZE, ".png")
        for images in sorted(given.images):
            root = folder / str(images)
            splits = {"train": images, "val": images // VALIDATED_SHARE}
            material.synthetic_manifest(paths, splits).write(root / "manifest.parquet")
            phases = {
                phase: common.in_own_process("growth", *same, "--phase", phase, "--folder", str(root))
                for phase in PHASES
            }
            growth.append({"images": images, "phases": phases})
            common.say(json.dumps(growth[-1]))
    smallest = growth[0]
    largest = growth[-1]
    common.report(
        "growth",
        ratio=most_added(largest) / most_added(smallest),
        against="what the phase that adds most to the imports' memory adds, at the smallest number of images",
        images_ratio=largest["images"] / smallest["images"],
        machine=common.torch_machine(common.trainer_of(given)),
        teacher=f"{given.teacher} at {given.size}, random weights",
        views=given.views,
        note=f"synthetic rows: all share {FILES} PNG files of {FILE_SIZE[0]} × {FILE_SIZE[1]} pixels",
        growth=growth,
    )


def most_added(row: dict[str, Any]) -> float:
    """MiB above the imports in the hungriest phase."""
    return max(float(phase["peak_mib"] - phase["imported_mib"]) for phase in row["phases"].values())


def one_phase(given: argparse.Namespace) -> dict[str, float]:
    """Seconds of a phase, and the peak memory before and after it."""
    trainer = common.trainer_of(given)
    imported = common.peak_mib()
    manifest = Manifest.read(given.folder / "manifest.parquet", material.LABELS)
    phases: dict[str, Callable[[], object]] = {
        "logits": lambda: outputs(given, manifest.usable("train"), given.views, "logits", trainer),
        "read": lambda: read(given, manifest.usable("train"), trainer),
        "features": lambda: features(given, manifest, trainer),
        "head": lambda: head(given, manifest, trainer),
    }
    seconds = common.timed(phases[given.phase]).seconds
    return {"seconds": round(seconds, 2), "peak_mib": common.peak_mib(), "imported_mib": imported}


def outputs(given: argparse.Namespace, part: Manifest, views: int, output: Output, trainer: TrainerConfig) -> Outputs:
    """The teacher's outputs for these rows, computed where they are missing."""
    context = material.context_of(given.folder, replace(trainer, precision="32-true"))
    teacher = FrozenModel(material.untrained(given.teacher, given.size), output, context)
    return teacher.compute_outputs(Examples(part, material.SPEC), views)


def features(given: argparse.Namespace, manifest: Manifest, trainer: TrainerConfig) -> list[Outputs]:
    """Of the training and the held-out images."""
    return [
        outputs(given, manifest.usable(split), views, "features", trainer)
        for split, views in (("train", given.views), ("val", 1))
    ]


def read(given: argparse.Namespace, part: Manifest, trainer: TrainerConfig) -> None:
    """Every image's logits once, in random order; the checksums are read before."""
    values = outputs(given, part, given.views, "logits", trainer)
    items = list(EpochSampler(len(part), given.views, 0))
    for start in range(0, len(items), BATCH):
        rows, views = (list(column) for column in zip(*items[start : start + BATCH], strict=True))
        values[rows, views]


def head(given: argparse.Namespace, manifest: Manifest, trainer: TrainerConfig) -> None:
    """The product's head; the features are there, their checksums are read before."""
    learned, held_out = (Examples(manifest.usable(split), material.SPEC) for split in ("train", "val"))
    context = material.context_of(given.folder, replace(trainer, precision="32-true"))
    backbone = FrozenModel(material.untrained(given.teacher, given.size), "features", context)
    fit_head(context, TeacherConfig(), backbone, (learned, given.views), held_out, None, given.folder / "fit")


if __name__ == "__main__":
    common.start_like_the_product()
    main()
