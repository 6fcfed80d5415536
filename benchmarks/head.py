"""Training a head: from features computed once, against the usual loop that runs the frozen backbone every epoch.

``python -m benchmarks.head [--images 48] [--views 1] [--model eva02_base_patch14_448 --size 448]``
On a GPU: ``--images 4096 --held-out 512``.

Both sides read the same files through the same loaders, see the same views, validate after every epoch and train with
the same batches and optimizer. Ours is the product's own: fill the cache, then fit the head with Lightning, checkpoints
included. The usual loop is a plain one without Lightning, its backbone run as the product runs it. One of its epochs is
measured and multiplied by ``--epochs``. A bare pass is the backbone alone, over as many images × views as ours that are
ready on its device; it and our pass take turns, the median of each counts.

The share of the cost that is not the backbone's shrinks with the number of images: 50 epochs take a few seconds even
over the few dozen images that a CPU can do.
"""

import argparse
from pathlib import Path
from statistics import median

import torch

from benchmarks import common, material
from cache.frozen import FrozenModel
from cache.read import Outputs
from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader, whole_images
from data.manifest import Manifest
from fitting.config import FitConfig
from fitting.fit import FitRequest, fit
from models.classifier import Classifier
from models.device import device_of
from models.forward import FrozenForward
from run.config import TrainerConfig
from run.ranks import Rank
from train.fits import FeatureDataset, feature_loader
from train.module import TeacherModule, class_weights

DISTINCT_FILES = 256


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "pixels", "views", "turns", *common.TRAINER, views=1, turns=3)
    parser.add_argument("--images", type=int, default=128, help="that the head learns from")
    parser.add_argument("--held-out", type=int, default=16, help="images that every epoch is validated on")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=64, help="images in a step of the head's optimizer")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    classifier = material.untrained(given.model, given.size)
    config = FitConfig(epochs=given.epochs, batch_size=given.batch_size, lr=1e-3)
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
            turns.append({"bare_pass": bare} | ours(classifier, manifest, config, given.views, trainer, run))
        epoch = common.timed(
            lambda: usual_epoch(backbone.forward, classifier, manifest, config, given.views, trainer)
        ).seconds
        common.say(f"one epoch of the usual loop: {epoch:.1f} s")
    seconds = {part: median(turn[part] for turn in turns) for part in turns[0]}
    whole = seconds["our_pass"] + seconds["our_epochs"]
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
    classifier: Classifier, manifest: Manifest, config: FitConfig, views: int, trainer: TrainerConfig, folder: Path
) -> dict[str, float]:
    """Seconds of the pass over images × views, and of all epochs of the head on what it gave."""
    parts = [manifest.usable("train"), manifest.usable("val")]
    context = material.context_of(folder, trainer)
    backbone = FrozenModel(classifier, "features", context)

    def features() -> list[Outputs]:
        return [
            backbone.compute_outputs(Examples(part, material.SPEC), number)
            for part, number in zip(parts, (views, 1), strict=True)
        ]

    filled = common.timed(features)
    common.say(f"our pass: {filled.seconds:.1f} s")
    module = head_module(classifier, parts[0], config)

    def epochs() -> None:
        datasets = [FeatureDataset(part, values) for part, values in zip(parts, filled.value, strict=True)]
        request = FitRequest(
            module=module,
            learned=feature_loader(datasets[0], EpochSampler(len(parts[0]), views, 0), config.batch_size),
            held_out=feature_loader(datasets[1], whole_images(len(parts[1]), Rank()), config.batch_size),
            name="head",
            folder=folder,
            precision="32-true",
        )
        fit(request, context)

    seconds = common.timed(epochs).seconds
    common.say(f"our {config.epochs} epochs: {seconds:.1f} s")
    return {"our_pass": filled.seconds, "our_epochs": seconds}


def head_module(classifier: Classifier, part: Manifest, config: FitConfig) -> TeacherModule:
    """The product's head with its loss."""
    return TeacherModule.of_head(classifier, config, class_weights(part.targets(), "none", part.labels))


def usual_epoch(
    forward: FrozenForward,
    classifier: Classifier,
    manifest: Manifest,
    config: FitConfig,
    views: int,
    trainer: TrainerConfig,
) -> None:
    """Every image through reading, the frozen backbone and a step of the head; then the held-out ones."""
    parts = [manifest.usable("train"), manifest.usable("val")]
    device = device_of(trainer)
    datasets = [ViewDataset(Examples(part, material.SPEC), classifier.spec.render) for part in parts]
    sizes = {"batch_size": min(config.batch_size, len(parts[0])), "workers": trainer.workers}
    loaders = (
        train_loader(datasets[0], EpochSampler(len(parts[0]), views, 0), **sizes),
        whole_image_loader(datasets[1], len(parts[1]), rank=Rank(), **sizes),
    )
    module = head_module(classifier, parts[0], config).to(device)
    optimizer = torch.optim.AdamW(module.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    for loader, learn in zip(loaders, (True, False), strict=True):
        for batch in loader:
            features = torch.from_numpy(forward(batch["image"]))
            inputs = {"features": features.to(device), "target": batch["target"].to(device)}
            loss = module.losses(inputs)["loss"]
            if learn:
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()


if __name__ == "__main__":
    common.start_like_the_product()
    main()
