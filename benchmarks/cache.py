"""The view cache: bytes it stores, how fast it is built from files, how fast it is read.

``python -m benchmarks.cache [--images 12] [--views 2] [--model eva02_base_patch14_448 --size 448]``
On a GPU: ``--images 1024 --views 8``.

- Building: ``cache.fill`` from JPEG and from PNG files, worker processes, checksums and all, against the bare
  model on tensors that are ready on its device; they take turns, the best of each counts. The files were just written,
  so the system reads them from memory, not from a disk.
- Bytes: all that lies in a finished cache, plan and checksums included, over images × views.
- Reading: random (image, view) pairs from the memory-mapped shards of a cache that fits into memory, one at a time, as
  a student's workers do, and in batches, as a head's training does.

Sizes and reading do not depend on the numbers, so random ones stand in for a model's there.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import common, material
from cache.frozen import FrozenModel
from cache.key import ViewCache
from cache.read import read_outputs
from data.manifest import Manifest
from models.classifier import Classifier
from models.forward import Output
from run.config import TrainerConfig

FEATURES = 768
"""Width of EVA-02 base."""
STORED: dict[str, tuple[Output, int]] = {
    "logits of 4 labels": ("logits", 4),
    "logits of 64 labels": ("logits", 64),
    "logits of 1000 labels": ("logits", 1000),
    f"features of width {FEATURES}": ("features", FEATURES),
}
DISTINCT_FILES = 128
BATCH = 512


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "pixels", "views", "turns", *common.TRAINER, views=4, turns=2)
    parser.add_argument("--images", type=int, default=16, help="that the cache is built for")
    parser.add_argument("--stored-images", type=int, default=2048, help="in the caches whose bytes are counted")
    parser.add_argument("--read-images", type=int, default=16384, help="in the cache that is read")
    parser.add_argument("--read-views", type=int, default=4, help="in the cache that is read")
    parser.add_argument("--reads", type=int, default=100_000, help="pairs that are read in batches; a tenth singly")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    with common.scratch() as folder:
        stored = {kind: bytes_each(folder / kind, *what, given.stored_images) for kind, what in STORED.items()}
        common.say(f"bytes: {stored}")
        reads = reading(folder, given.read_images, given.read_views, given.reads)
        common.say(f"reads/s: {reads}")
        rates = building(folder, given, trainer)
    common.report(
        "cache",
        ratio=min(rates["JPEG"], rates["PNG"]) / rates["bare"],
        against="the bare model on ready tensors, images × views/s; the slower of JPEG and PNG files",
        machine=common.torch_machine(trainer),
        model=f"{given.model} at {given.size}, random weights",
        images=given.images,
        views=given.views,
        images_x_views_per_s=rates,
        bytes_per_image_and_view=stored,
        reads_per_s=reads,
    )


def bytes_each(root: Path, output: Output, width: int, images: int, views: int = 2) -> dict[str, float]:
    """Bytes per image and view: of the numbers themselves, and of everything in the folder."""
    cache = random_cache(root, output, width, images, views)
    total = sum(path.stat().st_size for path in cache.folder.iterdir())
    return {"numbers": cache.key.bytes_each, "all": round(total / (images * views), 1)}


def random_cache(root: Path, output: Output, width: int, images: int, views: int) -> ViewCache:
    """A cache of random numbers for small images."""
    paths = material.write_photographs(root / "small", 16, (16, 16), ".png")
    key = material.random_key(material.untrained("test_vit", 16), output, width)
    return material.write_random_cache(root, key, material.synthetic_manifest(paths, {"train": images}), views)


def reading(folder: Path, images: int, views: int, reads: int) -> dict[str, float]:
    """Random pairs/s, one at a time and in batches, of features."""
    cache = random_cache(folder / "read", "features", FEATURES, images, views)
    ids = material.synthetic_manifest([folder], {"train": images}).column("image_id")
    outputs = read_outputs(cache, ids, views)
    generator = np.random.default_rng(0)
    rows = generator.integers(images, size=reads)
    indices = generator.integers(views, size=reads)
    outputs[np.arange(images)]  # every shard is mapped by then
    singly = reads // 10

    def one_by_one() -> None:
        for row, view in zip(rows[:singly].tolist(), indices[:singly].tolist(), strict=True):
            outputs[row, view]

    def in_batches() -> None:
        for start in range(0, reads, BATCH):
            outputs[rows[start : start + BATCH], indices[start : start + BATCH]]

    return {
        "singly": singly / common.timed(one_by_one).seconds,
        f"batches of {BATCH}": reads / common.timed(in_batches).seconds,
    }


def building(folder: Path, given: argparse.Namespace, trainer: TrainerConfig) -> dict[str, float]:
    """Images × views/s of the bare model, and of the cache from either kind of file."""
    classifier = material.untrained(given.model, given.size)
    count: int = given.images * given.views
    bare = material.BareModel(FrozenModel(classifier, "features", material.context_of(folder, trainer)), trainer)
    sides: dict[str, Callable[[], float]] = {"bare": lambda: count / common.timed(lambda: bare.run(count)).seconds}
    for kind, suffix in (("JPEG", ".jpg"), ("PNG", ".png")):
        paths = material.write_photographs(folder / kind, min(DISTINCT_FILES, given.images), given.pixels, suffix)
        manifest = material.synthetic_manifest(paths, {"train": given.images})
        sides[kind] = partial(filling_rate, classifier, manifest, given.views, trainer)
    return common.best(common.in_turns(sides, given.turns))


def filling_rate(classifier: Classifier, manifest: Manifest, views: int, trainer: TrainerConfig) -> float:
    """Images × views/s of filling a new cache."""
    return len(manifest) * views / material.seconds_to_fill(classifier, manifest, views, trainer)


if __name__ == "__main__":
    common.start_like_the_product()
    main()
