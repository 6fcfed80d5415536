"""The view cache: what a frozen model gives for image × view, computed once, memory-mapped for ever after.

A cache is a folder named after its key (weights, input contract, view distribution, precision). It holds the plans that
say what is in it and the shards they name (``docs/cache.md`` shows all of it). A batch never crosses a shard, so a
cache comes out the same byte for byte, on one kind of device, however many processes make it and however often they are
interrupted. One thing can change last digits: a batch that is halved because it does not fit into the GPU's memory.
"""

import errno
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.key import CacheKey, claim
from cache.plan import agree, drop, planned_shards
from cache.read import Outputs, Unpack
from cache.render import render_batches
from cache.shards import Shard, discard, is_sound, made_in, total_size, unsound, write_shard
from cache.top_labels import RECORD, compress, reconstruct
from data.manifest import Manifest
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import Forward, Output, forward_of, in_order
from models.spec import InputSpec
from run.config import TrainerConfig
from run.console import log, progress
from run.errors import UserError
from run.files import Json
from run.ranks import Rank, this_rank, wait_until_empty

HEADER_BYTES = 512
"""More than a shard takes besides its values."""


@dataclass
class Passes:
    """How often a frozen model was run: a mutable sum over a stage."""

    images_x_views: int = 0
    """Images × views that went through it, here or in a process beside this one."""
    cached: int = 0
    """Images × views that were asked for and were there."""
    live: int = 0
    """Those of ``images_x_views`` that went through it for a training step, and were not kept."""

    def add(self, other: "Passes") -> None:
        """Count another's too."""
        self.images_x_views += other.images_x_views
        self.cached += other.cached
        self.live += other.live

    def to_json(self) -> dict[str, Json]:
        """As ``metrics.json`` has it under ``teacher_passes``."""
        return asdict(self)


class ViewCache:
    """The shards of one key, below ``root``.

    Raises:
        UserError: the key's folder holds the cache of another key.
    """

    def __init__(self, root: Path, key: CacheKey) -> None:
        self.key = key
        self.folder = claim(root, key)

    @property
    def bytes_each(self) -> int:
        """Bytes stored per image and view."""
        return 2 * self.key.width if self.key.layout == "all" else RECORD.itemsize

    def read(self, image_ids: Sequence[str], views: int) -> Outputs:
        """Values [rows, views, width] of views 0 to ``views``, read where they are asked for; all must be there."""
        unpack: Unpack = np.asarray if self.key.layout == "all" else partial(reconstruct, count=self.key.width)
        shards = [shard for _, shard in planned_shards(self.folder, image_ids, views)]
        return Outputs(self.folder, shards, image_ids, views, self.key.width, unpack)

    def fill(
        self,
        manifest: Manifest,
        views: int,
        forward: Forward,
        input_spec: InputSpec,
        spec: ViewSpec,
        *,
        batch_size: Callable[[], int],
        workers: int,
        rank: Rank | None = None,
    ) -> Passes:
        """Compute whatever of views 0 to ``views`` is missing for these images.

        Several processes may call this for the same folder on a shared file system: each makes its share of the shards
        and waits for the others'. Each checks every shard's checksum once, before it relies on it.

        Args:
            manifest: the images.
            views: how many of each.
            forward: the model.
            input_spec: what it takes.
            spec: draws the views.
            batch_size: asked for once where something is planned: all processes and restarts keep to what it says.
            workers: processes that read and render.
            rank: this process.

        Returns:
            How many images × views were missing when this process looked, and went through the model here or in
            another process; and how many were there.

        Raises:
            UserError: the model gave a value that is not finite in float16 (the image is named), the disk is too small
                or full, or the other processes make nothing.
        """
        wanted, rank = set(manifest.column("image_id")), rank or this_rank()
        missing = self._missing(wanted, views, rank, batch_size)
        self._require_space([shard for _, shard in missing])
        mine = [shard for number, shard in missing if number % rank.world == rank.number]
        self._make(mine, manifest, forward, input_spec, spec, workers)
        self._wait_for([shard for number, shard in missing if number % rank.world != rank.number])
        computed = total_size(shard for _, shard in missing)
        return Passes(computed, max(0, len(wanted) * views - computed))

    def _missing(
        self, wanted: set[str], views: int, rank: Rank, batch_size: Callable[[], int]
    ) -> list[tuple[int, Shard]]:
        """The shards to make, with their numbers; none holds anything but what is asked for.

        Someone who stops a pass over 16 views and asks for 4 wants no shard of 16 finished, so what an older plan has
        left undone is planned anew where it holds more. While other processes may have read that plan, it cannot be.
        """
        with self._naming_what_a_full_disk_lacks(len(wanted) * views * self.bytes_each):
            agree(self.folder, wanted, views, rank, batch_size)
        missing = self._unsound(wanted, views)
        unfit = [shard for _, shard in missing if shard.stop > views or not wanted.issuperset(shard.images)]
        if not unfit:
            return missing
        if rank.number == 0:
            drop(self.folder, unfit)
            for shard in unfit:
                discard(self.folder, shard)
        if rank.world > 1:
            raise UserError(f"what was left undone in {self.folder} is planned anew: start the same command again")
        agree(self.folder, wanted, views, rank, batch_size)
        return self._unsound(wanted, views)

    def _unsound(self, wanted: set[str], views: int) -> list[tuple[int, Shard]]:
        planned = planned_shards(self.folder, wanted, views)
        names = {shard.name for shard in unsound(self.folder, [shard for _, shard in planned])}
        return [(number, shard) for number, shard in planned if shard.name in names]

    def _wait_for(self, shards: Sequence[Shard]) -> None:
        """Return once other processes have made these shards and this one has checked them."""
        left = {shard.name: shard for shard in shards}

        def names_left() -> list[str]:
            for name in made_in(self.folder).intersection(left):
                if is_sound(self.folder, left[name]):
                    del left[name]
            return list(left)

        wait_until_empty(names_left, "shards")

    def _make(
        self,
        shards: Sequence[Shard],
        manifest: Manifest,
        forward: Forward,
        input_spec: InputSpec,
        spec: ViewSpec,
        workers: int,
    ) -> None:
        if not shards:
            return
        for shard in shards:
            if discard(self.folder, shard):
                log.print(f"{shard.values_path(self.folder)} is damaged and is made again", soft_wrap=True)
        renders = render_batches(manifest, shards, input_spec, spec, workers=workers)
        with progress(f"{self.key.output} of images × views", total_size(shards)) as advance:
            for number, shard in enumerate(shards):
                values = self._values(shard, forward, renders, advance)
                self._require_finite(shard, values, manifest)
                self._store(shard, values, shards[number:])

    def _values(
        self, shard: Shard, forward: Forward, renders: Iterator[Tensor], advance: Callable[[int], None]
    ) -> NDArray[np.float32]:
        """Values [images, views, width] of a shard, whose renders [images, views, 3, S, S] come next."""
        batches = islice(renders, math.ceil(len(shard.images) / shard.images_at_a_time))
        chunks = (chunk for batch in batches for chunk in torch.split(batch.flatten(0, 1), shard.batch))
        values, at = np.empty((shard.size, self.key.width), np.float32), 0
        for numbers in in_order(forward, chunks):
            values[at : at + len(numbers)] = numbers
            at += len(numbers)
            advance(len(numbers))
        assert at == shard.size
        return values.reshape(*shard.shape, self.key.width)

    def _require_finite(self, shard: Shard, values: NDArray[np.float32], manifest: Manifest) -> None:
        bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float16).max).all((1, 2)))
        if len(bad):
            row = manifest.column("image_id").index(shard.images[bad[0]])
            uri = manifest.column("uri")[row]
            raise UserError(f"the teacher gives {self.key.output} that are not finite in float16 for {uri}")

    def _store(self, shard: Shard, values: NDArray[np.float32], left: Sequence[Shard]) -> None:
        stored: NDArray[Any] = values.astype(np.float16) if self.key.layout == "all" else compress(values)
        with self._naming_what_a_full_disk_lacks(self._bytes(left)):
            write_shard(self.folder, shard, stored)

    @contextmanager
    def _naming_what_a_full_disk_lacks(self, needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"the disk is full: {self.folder} needs {_gigabytes(needed)} more. What is made is kept: make room, "
                "and the same command goes on from here"
            ) from error

    def _require_space(self, shards: Sequence[Shard]) -> None:
        needed, free = self._bytes(shards), shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"the cache needs {_gigabytes(needed)} more below {self.folder.parent}, where "
                f"{_gigabytes(free)} are free: {total_size(shards):,} images × views of {self.bytes_each:,} bytes. "
                "Make room, lower views.count, or set students[].live to 1"
            )

    def _bytes(self, shards: Sequence[Shard]) -> int:
        return total_size(shards) * self.bytes_each + len(shards) * HEADER_BYTES


def outputs_over_views(
    classifier: Classifier,
    output: Output,
    manifest: Manifest,
    views: int,
    spec: ViewSpec,
    *,
    root: Path,
    trainer: TrainerConfig,
    precision: str,
    passes: Passes | None = None,
) -> Outputs:
    """A frozen model's outputs for views 0 to ``views`` of these rows [rows, views, width], read as they are indexed.

    They come from the cache below ``root``; whatever is missing there is computed first, and ``passes`` told how much
    that was.
    """
    cache = ViewCache(root, CacheKey.of(classifier, output, spec, precision, compiled=trainer.compile_frozen))
    forward = forward_of(classifier, output, trainer, precision)
    done = cache.fill(
        manifest,
        views,
        forward,
        classifier.spec,
        spec,
        batch_size=lambda: forward.batch_size,
        workers=trainer.workers,
    )
    if passes is not None:
        passes.add(done)
    return cache.read(manifest.column("image_id"), views)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB ({count:,} bytes)"
