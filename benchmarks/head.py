"""Training a head: from features computed once, against the usual loop that runs the frozen backbone every epoch.

``python -m benchmarks.head [--images 48] [--views 1] [--model eva02_base_patch14_448 --size 448]``
On a GPU: ``--images 4096 --held-out 512``.

Both sides read the same files through the same loaders and see the same views. Ours is the product's own: fill the
cache, then solve the head at each weight decay of the path. The usual loop learns with AdamW and validates after every
epoch, its backbone run as the product runs it. One of its epochs is measured and multiplied by ``--epochs``. A bare
pass is the backbone alone, over as many images × views as ours that are ready on its device; it and our pass take
turns, the median of each counts.

The share of the cost that is not the backbone's shrinks with the number of images.
"""

import argparse
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional

from benchmarks import common, material
from cache.frozen import FrozenModel
from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader
from data.manifest import Manifest
from models.classifier import Classifier
from models.device import device_of
from models.forward import FrozenForward
from run.config import TrainerConfig
from run.ranks import Rank
from train.config import TeacherConfig
from train.head import fit_head

DISTINCT_FILES = 256


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "pixels", "views", "turns", *common.TRAINER, views=1, turns=3)
    parser.add_argument("--images", type=int, default=128, help="that the head learns from")
    parser.add_argument("--held-out", type=int, default=16, help="images that it is validated on")
    parser.add_argument("--epochs", type=int, default=50, help="of the usual loop")
    parser.add_argument("--batch-size", type=int, default=64, help="images in a step of the usual loop")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    classifier = material.untrained(given.model, given.size)
    with common.scratch() as folder:
        files = min(DISTINCT_FILES, given.images + given.held_out)
        paths = material.write_photographs(folder / "images", files, given.pixels)
        manifest = material.synthetic_manifest(paths, {"train": given.images, "val": given.held_out})
        count = given.images * given.views + given.held_out
        backbone = FrozenModel(classifier, "features", material.context_of(folder, trainer))
        model = material.BareModel(backbone, trainer)
        turns: list[dict[str, float]] = []
        for turn in range(given.turns):
            bare = common.timed(lambda: model.run(count)).seconds
            common.say(f"bare pass: {bare:.1f} s for {count} images × views")
            run = folder / f"run-{turn}"
            turns.append({"bare_pass": bare} | ours(classifier, manifest, given.views, trainer, run))
        epoch = common.timed(
            lambda: usual_epoch(backbone.forward, classifier, manifest, given.batch_size, given.views, trainer)
        ).seconds
        common.say(f"one epoch of the usual loop: {epoch:.1f} s")
    seconds = {part: median(turn[part] for turn in turns) for part in turns[0]}
    whole = seconds["our_pass"] + seconds["our_head"]
    common.report(
        "head",
        ratio=given.epochs * epoch / whole,
        against=f"the usual loop for {given.epochs} epochs: one epoch measured, times {given.epochs}",
        head_training_over_one_pass=whole / seconds["bare_pass"],
        machine=common.torch_machine(trainer),
        model=f"{given.model} at {given.size}, random weights",
        images=given.images,
        held_out=given.held_out,
        views=given.views,
        epochs=given.epochs,
        seconds=seconds | {"one_usual_epoch": epoch, "usual_epochs_computed": given.epochs * epoch},
        turns=turns,
    )


def ours(
    classifier: Classifier, manifest: Manifest, views: int, trainer: TrainerConfig, folder: Path
) -> dict[str, float]:
    """Seconds of the pass over images × views, and of the head on what it gave."""
    learned, held_out = (Examples(manifest.usable(split), material.SPEC) for split in ("train", "val"))
    context = material.context_of(folder, trainer)
    backbone = FrozenModel(classifier, "features", context)
    filled = common.timed(lambda: (backbone.compute_outputs(learned, views), backbone.compute_outputs(held_out, 1)))
    common.say(f"our pass: {filled.seconds:.1f} s")
    solved = common.timed(
        lambda: fit_head(context, TeacherConfig(), backbone, (learned, views), held_out, None, folder)
    )
    common.say(f"our head: {solved.seconds:.1f} s for {len(solved.value)} weight decays")
    return {"our_pass": filled.seconds, "our_head": solved.seconds}


def usual_epoch(
    forward: FrozenForward,
    classifier: Classifier,
    manifest: Manifest,
    batch_size: int,
    views: int,
    trainer: TrainerConfig,
) -> None:
    """Every image through reading, the frozen backbone and a step of the head; then the held-out ones."""
    parts = [manifest.usable("train"), manifest.usable("val")]
    device = device_of(trainer)
    datasets = [ViewDataset(Examples(part, material.SPEC), classifier.spec.render) for part in parts]
    sizes = {"batch_size": min(batch_size, len(parts[0])), "workers": trainer.workers}
    loaders = (
        train_loader(datasets[0], EpochSampler(len(parts[0]), views, 0), **sizes),
        whole_image_loader(datasets[1], len(parts[1]), rank=Rank(), **sizes),
    )
    head = classifier.head.to(device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for loader, learn in zip(loaders, (True, False), strict=True):
        for batch in loader:
            features = torch.from_numpy(forward(batch["image"])).to(device)
            loss = functional.cross_entropy(head(features), batch["target"].to(device))
            if learn:
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()


if __name__ == "__main__":
    common.start_like_the_product()
    main()
