"""The modes of a teacher on a label set of one's own: how often each is right, and how long it takes.

``python -m benchmarks.modes [--seeds 3] [--base-epochs 6] [--epochs 3]``. Needs the ``demo`` extra.

No pretrained EVA-02 can be had without the Hub, so one is made: the demo's teacher learns the four likelihoods of
defects in half of the demo's photographs. From these weights each mode then learns the demo's two labels in the other
half, on splits that each seed draws anew; ``scratch`` learns them in full from random weights, for as many epochs.
Modes that train on images get ``--epochs`` and the product's learning rate, but for ``scratch``, which has the demo's;
a head has its own defaults. Intervals are Student's t over the seeds, at 95 %.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import common, material
from benchmarks.tasks import DEMO, interval
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from models.classifier import Classifier
from models.facts import Mode
from models.forward import whole_image_logits
from pocketeva import read_config
from run.config import TrainerConfig
from train.config import TeacherConfig
from train.teacher import load_teacher
from train.train import train
from verbs.config import Config

MODES: tuple[Mode, ...] = ("head", "last_blocks", "lora", "full")
SHARES = {"train": 0.6, "val": 0.1, "calibration": 0.1, "test": 0.2}


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "seeds", *common.TRAINER, precision="32-true")
    parser.add_argument("--base-epochs", type=int, default=6, help="of the weights that all modes start from")
    parser.add_argument("--epochs", type=int, default=3, help="of the modes that train on images")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    demo = read_config(DEMO)
    with common.scratch() as root:
        half, _ = halves(prepared(root / "base", material.LABELS, demo, trainer))
        _, own = halves(prepared(root / "own", LabelSet.of(demo.labels), demo, trainer))
        base = with_epochs(demo.teacher, given.base_epochs)
        train(material.context_of(root / "base", trainer), half, base, demo.views)
        start = root / "base" / "teacher" / "model"
        found: dict[str, list[dict[str, float]]] = {}
        for seed in range(given.seeds):
            rows = drawn(own, seed)
            for name, config in configs(demo.teacher, start, given.epochs).items():
                score = learn(root / f"{name}-{seed}", rows, config, demo, trainer)
                common.say(f"seed {seed}, {name}: {score}")
                found.setdefault(name, []).append(score)
    means = {name: {key: interval([one[key] for one in scores]) for key in scores[0]} for name, scores in found.items()}
    common.report(
        "modes",
        ratio=sum(one["seconds"] for one in found["head"]) / sum(one["seconds"] for one in found["full"]),
        against="full fine-tuning: seconds of a head",
        machine=common.torch_machine(trainer),
        model=f"{demo.teacher.model} at {demo.teacher.image_size}",
        images={split: rows.table.column("split").to_pylist().count(split) for split in SHARES},
        seeds=given.seeds,
        modes=means,
    )


def prepared(folder: Path, labels: LabelSet, demo: Config, trainer: TrainerConfig) -> Manifest:
    """The demo's photographs with these labels."""
    return prepare(material.context_of(folder, trainer).folder, labels, demo.data)


def halves(manifest: Manifest) -> tuple[Manifest, Manifest]:
    """Its rows by whether an image's digest is even; near-duplicates may lie in both."""
    even = np.array([int(image_id[:8], 16) % 2 == 0 for image_id in manifest.column("image_id")])
    first, second = (manifest.table.filter(pa.array(half)) for half in (even, ~even))
    return Manifest(manifest.labels, first), Manifest(manifest.labels, second)


def drawn(manifest: Manifest, seed: int) -> Manifest:
    """The same images in a seed's splits; a group stays together."""
    groups = sorted(set(manifest.column("group")))
    order = np.random.default_rng(seed).permutation(len(groups))
    ends = np.cumsum(list(SHARES.values())) * len(groups)
    names = [list(SHARES)[place] for place in np.searchsorted(ends, np.arange(len(groups)), "right")]
    split_of = {groups[group]: name for group, name in zip(order, names, strict=True)}
    splits = pa.array([split_of[group] for group in manifest.column("group")])
    place = manifest.table.schema.get_field_index("split")
    return Manifest(manifest.labels, manifest.table.set_column(place, manifest.table.schema.field(place), splits))


def configs(demo: TeacherConfig, start: Path, epochs: int) -> Mapping[str, TeacherConfig]:
    """Each way to train a teacher; all but the last start from the weights in ``start``."""
    adapting = replace(TeacherConfig(), model=str(start), image_size=demo.image_size, resize=demo.resize)
    ways: dict[str, TeacherConfig] = {mode: with_epochs(replace(adapting, mode=mode), epochs) for mode in MODES}
    return {**ways, "scratch": with_epochs(demo, epochs)}


def with_epochs(config: TeacherConfig, epochs: int) -> TeacherConfig:
    """The same with so many epochs on images."""
    changed: dict[str, Any] = {config.images_key: replace(config.on_images, epochs=epochs)}
    return config if config.mode == "head" else replace(config, **changed)


def learn(
    folder: Path, rows: Manifest, config: TeacherConfig, demo: Config, trainer: TrainerConfig
) -> dict[str, float]:
    """Train a teacher; its seconds, and its accuracy and cross-entropy on test images."""
    context = material.context_of(folder, trainer)
    context.folder.root.mkdir(parents=True)
    trained = common.timed(lambda: train(context, rows, config, demo.views))
    teacher: Classifier = load_teacher(context, rows.labels).classifier
    test = rows.usable("test")
    logits = whole_image_logits(teacher, Examples.of_originals(test, demo.views), trainer, "32-true", "test images")
    log_shares = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    truth = test.labels.truth(test.targets())
    return {
        "accuracy": float((logits.argmax(1) == truth).mean()),
        "loss": float(-log_shares[np.arange(len(truth)), truth].mean()),
        "seconds": trained.seconds,
    }


if __name__ == "__main__":
    common.start_like_the_product()
    main()
