"""Filling a view cache: whatever is missing of image × view goes through the model, shard by shard.

A batch never crosses a shard, so a cache comes out the same byte for byte, on one kind of device, however many
processes make it and however often they are interrupted. One thing can change last digits: a batch that is halved
because it does not fit into the GPU's memory.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.key import ViewCache
from cache.plan import ensure_planned, planned_shards, unplan
from cache.render import render_batches
from cache.shards import Shard, discard, is_sound, made_in, total_size, unsound, write_shard
from cache.top_labels import compress
from data.manifest import SPLITS, Manifest
from models.forward import in_order
from run.console import log, progress
from run.disk import DiskFullError
from run.errors import UserError, quoted
from run.ranks import Rank, this_rank, wait_until_empty

_WORDS = {"train": "training", "val": "validation"}
"""Splits in a sentence; the others go by their names."""

HEADER_BYTES = 512
"""More than a shard takes besides its values."""


@dataclass
class PassCount:
    """Passes of a frozen model, counted in images × views: a mutable sum over a stage."""

    images_x_views: int = 0
    """Images × views that went through it, here or in a process beside this one."""
    cached: int = 0
    """Images × views that were asked for and were there."""
    live: int = 0
    """Those of ``images_x_views`` that went through it for a training step, and were not kept."""

    def add(self, other: "PassCount") -> None:
        """Count another's too."""
        self.images_x_views += other.images_x_views
        self.cached += other.cached
        self.live += other.live


class BatchedForward(Protocol):
    """A frozen model that knows how many images suit it; ``models.forward.FrozenForward`` is one."""

    @property
    def batch_size(self) -> int:
        """Images at a time."""

    def __call__(self, images: Tensor, /) -> NDArray[np.float32]:
        """uint8 images [B, 3, S, S] to float32 [B, width]."""


def fill(
    cache: ViewCache, rows: Manifest, views: int, forward: BatchedForward, *, workers: int, rank: Rank | None = None
) -> PassCount:
    """Compute whatever of views 0 to ``views`` is missing for these images; this may take hours.

    Several processes may call this for the same folder on a shared file system: each makes its share of the shards
    and waits for the others'. Each checks every shard's checksum once, before it relies on it.

    Args:
        forward: the model. Its batch size is asked for only where something is planned: all processes and restarts
            keep to the plan.
        workers: processes that read and render.

    Returns:
        How many images × views were missing when this process looked, and went through the model here or in another
        process; and how many were there.

    Raises:
        UserError: the model gave a value that is not finite in float16 (the image is named), the disk is too small or
            full, the other processes make nothing, or the folder holds the cache of another key.
    """
    cache.record()
    return _Filling(cache, rows, views, forward, workers, rank or this_rank()).run()


@dataclass(frozen=True)
class _Filling:
    cache: ViewCache
    rows: Manifest
    views: int
    forward: BatchedForward
    workers: int
    rank: Rank

    def run(self) -> PassCount:
        wanted = set(self.rows.column("image_id"))
        missing = self._plan_missing(wanted)
        # Before any work: a pass of hours should not end with a full disk.
        self._require_space([shard for _, shard in missing])
        # Its own share first: the others need as long for theirs.
        self._make([shard for number, shard in missing if self._is_mine(number)])
        self._wait_for([shard for number, shard in missing if not self._is_mine(number)])
        computed = total_size(shard for _, shard in missing)
        return PassCount(computed, max(0, len(wanted) * self.views - computed))

    def _is_mine(self, number: int) -> bool:
        # By the number in the plan, so that each process finds its share without asking the others.
        return number % self.rank.world == self.rank.number

    def _plan_missing(self, wanted: set[str]) -> list[tuple[int, Shard]]:
        """The shards to make, with their numbers; none holds anything but what is asked for.

        Someone who stops a pass over 16 views and asks for 4 wants no shard of 16 finished, so what an older plan has
        left undone is planned anew where it holds more. While other processes may have read that plan, it cannot be.
        """
        folder = self.cache.folder
        with self._saying_what_is_missing(len(wanted) * self.views * self.cache.key.bytes_each):
            ensure_planned(folder, wanted, self.views, self.rank, lambda: self.forward.batch_size)
        missing = self._unsound(wanted)
        unfit = [shard for _, shard in missing if shard.stop > self.views or not wanted.issuperset(shard.images)]
        if not unfit:
            return missing
        if self.rank.number == 0:
            # Off the plans first: a shard that is gone but planned would be made by the next run.
            unplan(folder, unfit)
            for shard in unfit:
                discard(folder, shard)
        if self.rank.world > 1:
            raise UserError(f"what was left undone in {quoted(folder)} is planned anew: start the same command again")
        ensure_planned(folder, wanted, self.views, self.rank, lambda: self.forward.batch_size)
        return self._unsound(wanted)

    def _unsound(self, wanted: set[str]) -> list[tuple[int, Shard]]:
        planned = planned_shards(self.cache.folder, wanted, self.views)
        names = unsound(self.cache.folder, [shard for _, shard in planned])
        return [(number, shard) for number, shard in planned if shard.name in names]

    def _wait_for(self, shards: Sequence[Shard]) -> None:
        """Return once other processes have made these shards and this one has checked them."""
        left = {shard.name: shard for shard in shards}

        def names_left() -> list[str]:
            for name in made_in(self.cache.folder).intersection(left):
                if is_sound(self.cache.folder, left[name]):
                    del left[name]
            return list(left)

        wait_until_empty(names_left, "shard")

    def _make(self, shards: Sequence[Shard]) -> None:
        if not shards:
            return
        folder = self.cache.folder
        key = self.cache.key
        # All of them at once, so that the log names the damage before the long work begins.
        for shard in shards:
            if discard(folder, shard):
                log.print(f"{shard.values_path(folder)} is damaged and is made again", soft_wrap=True)
        renders = render_batches(self.rows, shards, key.input, key.views, workers=self.workers)
        splits = sorted(set(self.rows.column("split")), key=SPLITS.index)
        views = f" × {self.views} views" if self.views > 1 else ""
        words = " and ".join(_WORDS.get(split, split) for split in splits)
        with progress(f"teacher over {words} images{views}", total_size(shards)) as advance:
            for number, shard in enumerate(shards):
                values = self._compute(shard, renders, advance)
                # Before the shard is written: what is cached is never looked at again.
                self._require_finite(shard, values)
                stored = values.astype(np.float16) if key.layout == "all" else compress(values)
                with self._saying_what_is_missing(self._bytes(shards[number:])):
                    write_shard(folder, shard, stored)

    def _compute(self, shard: Shard, renders: Iterator[Tensor], advance: Callable[[int], None]) -> NDArray[np.float32]:
        """Values [images, views, width] of a shard, whose renders [images, views, 3, S, S] come next."""
        batches = islice(renders, math.ceil(len(shard.images) / shard.images_at_a_time))
        chunks = (chunk for batch in batches for chunk in torch.split(batch.flatten(0, 1), shard.batch))
        values = np.empty((shard.size, self.cache.key.width), np.float32)
        done = 0
        for numbers in in_order(self.forward, chunks):
            values[done : done + len(numbers)] = numbers
            done += len(numbers)
            advance(len(numbers))
        assert done == shard.size
        return values.reshape(*shard.shape, self.cache.key.width)

    def _require_finite(self, shard: Shard, values: NDArray[np.float32]) -> None:
        # Turned around: a comparison with NaN is false, so NaN counts as bad too.
        bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float16).max).all((1, 2)))
        if len(bad):
            row = self.rows.column("image_id").index(shard.images[bad[0]])
            uri = self.rows.column("uri")[row]
            raise UserError(f"the teacher gives {self.cache.key.output} that are not finite in float16 for {uri}")

    @contextmanager
    def _saying_what_is_missing(self, needed: int) -> Iterator[None]:
        try:
            yield
        except DiskFullError as error:
            more = f"{self.cache.folder} needs {_gigabytes(needed)} more"
            raise DiskFullError(f"{error}; {more}") from error

    def _require_space(self, shards: Sequence[Shard]) -> None:
        folder = self.cache.folder
        needed = self._bytes(shards)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"the cache needs {_gigabytes(needed)} more below {folder.parent}, where {_gigabytes(free)} are free: "
                f"{total_size(shards):,} images × views of {self.cache.key.bytes_each:,} bytes. Make room, lower "
                "views.count, or set students[].live to 1"
            )

    def _bytes(self, shards: Sequence[Shard]) -> int:
        return total_size(shards) * self.cache.key.bytes_each + len(shards) * HEADER_BYTES


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB ({count:,} bytes)"
