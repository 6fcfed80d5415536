"""Does the input side starve the model? Labelling from files beside the bare model, and the training loader by itself.

``python -m benchmarks.input [--model eva02_base_patch14_448] [--size 4000 3000] [--working-size 896]``
On a GPU: ``--images 512``.

The photographs are JPEG files of 4000 × 3000 pixels, each a mosaic of photographs of the elpv-dataset package at their
own resolution. The loader draws, renders and collates views for training in worker processes, and nothing but this
script takes them: once from the originals, once from working copies. Labelling is what ``train`` and ``distill`` do
before they learn: start the worker processes, decode each file once, render its views, run the model, write the cache.
The bare model gets as many ready uint8 tensors of the same size on its device, normalizes and runs them in batches of
the same size. All sides take turns in one run; the best of ``--turns`` counts. The files were just written,
so the system reads them from memory.

On a CPU the worker processes work on the same cores as the model: the share says what decoding and rendering take from
it. On a GPU it says whether they keep up.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
from PIL import Image

from benchmarks import common, material
from benchmarks.cache import filling_rate
from cache.frozen import FrozenModel
from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader
from data.manifest import Manifest
from data.working import make_working_copies
from models.classifier import Classifier
from run.config import TrainerConfig
from run.folder import RunFolder

CELL = 300
"""Pixels a side of an elpv photograph."""


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "views", "turns", *common.TRAINER, views=8, turns=2)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=[4000, 3000], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--working-size", type=int, help="shorter side in pixels; by default twice the model's")
    parser.add_argument("--batch-size", type=int, default=8, help="of the training loader")
    parser.add_argument("--epochs", type=int, default=3, help="of the training loader, in one turn")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    input_size = int(timm.get_pretrained_cfg(given.model).to_dict()["input_size"][-1])
    classifier = material.untrained(given.model, input_size)
    working_size = given.working_size or 2 * input_size
    with common.scratch() as root:
        originals = write_photographs(root / "photographs", given.images, *given.size)
        making = common.timed(lambda: make_working_copies(originals, RunFolder(root / "run"), working_size))
        manifests = {"originals": originals, "working_copies": making.value}
        loader = loader_rates(manifests, classifier, trainer, given)
        common.say(f"training loader, images/s: {loader}")
        labeling = labeling_rates(manifests, classifier, trainer, given, root)
    shares = {name: round(labeling[name] / labeling["bare_model"], 3) for name in manifests}
    common.report(
        "input",
        ratio=shares["originals"],
        against="the bare model on ready tensors, images × views/s; labeling from the original JPEG files",
        machine=common.torch_machine(trainer),
        model=f"{given.model} at {input_size}, random weights",
        photographs=[given.images, *given.size],
        views=given.views,
        working_size=working_size,
        workers=trainer.workers,
        labeling_images_x_views_per_s=labeling,
        labeling_share_of_bare_model=shares,
        loader_images_per_s=loader,
        loader_copies_over_originals=round(loader["working_copies"] / loader["originals"], 2),
        copies_made_per_s=round(given.images / making.seconds, 2),
    )


def write_photographs(folder: Path, count: int, width: int, height: int) -> Manifest:
    """JPEG mosaics, and the manifest that ``prepare`` would write of them."""
    folder.mkdir(parents=True)
    cells = material.photographs(200)
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        sheet = Image.new("RGB", (width, height))
        for top in range(0, height, CELL):
            for left in range(0, width, CELL):
                sheet.paste(cells[int(generator.integers(len(cells)))], (left, top))
        path = folder / f"{number:04}.jpg"
        sheet.save(path, quality=90)
        image_id = hashlib.sha256(path.read_bytes()).hexdigest()
        target = [float(number % len(material.LABELS) == index) for index in range(len(material.LABELS))]
        rows.append(
            {
                "image_id": image_id,
                "uri": str(path),
                "target": target,
                "votes": None,
                "split": "train",
                "group": image_id,
                "width": width,
                "height": height,
                "status": "ok",
            }
        )
    return Manifest.of(material.LABELS, rows)


def loader_rates(
    manifests: dict[str, Manifest], classifier: Classifier, trainer: TrainerConfig, options: argparse.Namespace
) -> dict[str, float]:
    """Images/s of the training loader; starting its worker processes is left out."""

    def one_turn(manifest: Manifest) -> float:
        dataset = ViewDataset(Examples(manifest, material.SPEC), classifier.spec.render)
        sampler = EpochSampler(len(manifest), None, 0)
        loader = train_loader(dataset, sampler, batch_size=options.batch_size, workers=trainer.workers)
        sum(1 for _ in loader)
        started = time.perf_counter()
        images = 0
        for epoch in range(1, options.epochs + 1):
            sampler.set_epoch(epoch)
            images += sum(len(batch["image"]) for batch in loader)
        return images / (time.perf_counter() - started)

    sides = {name: partial(one_turn, manifest) for name, manifest in manifests.items()}
    return common.best(common.in_turns(sides, options.turns))


def labeling_rates(
    manifests: dict[str, Manifest],
    classifier: Classifier,
    trainer: TrainerConfig,
    options: argparse.Namespace,
    root: Path,
) -> dict[str, float]:
    """Images × views/s of filling an empty cache with features, and of the bare model."""
    total: int = options.images * options.views
    bare = material.BareModel(FrozenModel(classifier, "features", material.context_of(root, trainer)), trainer)
    sides: dict[str, Callable[[], float]] = {
        name: partial(filling_rate, classifier, manifest, options.views, trainer)
        for name, manifest in manifests.items()
    }
    sides["bare_model"] = lambda: total / common.timed(lambda: bare.run(total)).seconds
    return common.best(common.in_turns(sides, options.turns))


if __name__ == "__main__":
    common.start_like_the_product()
    main()
