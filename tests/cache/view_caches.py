"""Small view caches; ``main`` fills one in a process of its own."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import cache.plan
import run.ranks
from cache.fill import PassCount
from cache.fill import fill as fill_cache
from cache.key import CacheKey, ViewCache
from data.config import ViewsConfig
from data.manifest import Manifest
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import Forward, forward_of
from run.ranks import Rank, this_rank
from tests.support import TRAINER, TWO, elpv_rows, files_below, rows_of, tiny

SPEC = ViewSpec.of(ViewsConfig())
PATHS = [path for path, _ in elpv_rows()[:11]]

SMALL = ((cache.plan, "SHARD_IMAGES", 4),)
BATCH = 6
"""Four images a shard and at most six renders a batch, so that eleven images take several of both."""


def manifest(count: int = len(PATHS)) -> Manifest:
    return Manifest.of(TWO, rows_of(PATHS[:count], TWO))


def model() -> Classifier:
    return tiny("test_resnet", TWO, 32)


def opened(root: Path, classifier: Classifier, **changes: Any) -> ViewCache:
    return ViewCache(root, replace(CacheKey.of(classifier, "logits", SPEC, "32-true"), **changes))


def fill(
    cache: ViewCache,
    classifier: Classifier,
    rows: Manifest,
    views: int,
    forward: Forward | None = None,
    rank: Rank | None = None,
    batch: int = BATCH,
) -> PassCount:
    forward = forward or forward_of(classifier, "logits", TRAINER, "32-true")
    return fill_cache(cache, rows, views, Batched(forward, batch), workers=0, rank=rank or Rank())


def shards(cache: ViewCache) -> dict[str, bytes]:
    return {name: data for name, data in files_below(cache.folder).items() if name[0].isdigit()}


class Batched:
    """A forward that wants so many images at a time."""

    def __init__(self, forward: Forward, batch_size: int) -> None:
        self.forward = forward
        self.batch_size = batch_size

    def __call__(self, images: Tensor, /) -> NDArray[np.float32]:
        return self.forward(images)


class Counted:
    """A forward that counts, and does what it is told after some batches."""

    def __init__(self, forward: Forward, batches: int = -1, then: Any = None) -> None:
        self.forward, self.left, self.then, self.images = forward, batches, then, 0

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        if not self.left:
            self.then()
        self.left -= 1
        self.images += len(images)
        return self.forward(images)


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(root: Path, views: int, patience: float, batches: int) -> int:
    """Fill as one of however many processes; killed in the middle of a batch if so many batches are given."""
    for module, name, value in SMALL:
        setattr(module, name, value)
    run.ranks.PATIENCE_S, run.ranks.POLL_S = patience, 0.05
    classifier = model()
    counted = Counted(forward_of(classifier, "logits", TRAINER, "32-true"), batches, kill_this_process)
    passes = fill(opened(root, classifier), classifier, manifest(), views, counted, this_rank())
    print(counted.images, passes.images_x_views, passes.cached)  # noqa: T201
    return 0
