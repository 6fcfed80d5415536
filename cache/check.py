"""Checking a view cache against the live model. Nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from cache.key import CacheKey, ViewCache
from cache.plan import read_plans
from cache.shards import Shard, made_in, mapped, unsound
from data.loaders import load, to_chw
from data.manifest import Manifest
from models.forward import Forward
from run.console import progress

Place = tuple[Shard, int, int]
"""A shard, the place of an image in it, and a view."""

ALLOWED = {"32-true": 2e-3, "16-mixed": 2e-2, "bf16-mixed": 1e-1}
"""Largest difference, relative to the largest cached number of the sample: the cache rounds to 11 bits, and a model in
lower precision gives other digits in batches of another size. Another teacher or view is off by far more."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Cached and live outputs of a sample of images × views."""

    sampled: int
    cached: int
    """Images × views of the manifest that are cached."""
    damaged: list[str]
    """Shards whose checksum is wrong."""
    largest: float = 0.0
    where: str = ""
    """The uri and view of the largest difference."""
    allowed: float = 0.0

    @property
    def passes(self) -> bool:
        """True where no shard is damaged and rounding explains every difference."""
        return not self.damaged and self.largest <= self.allowed


def compare(cache: ViewCache, rows: Manifest, forward: Forward, sample: int) -> Difference:
    """Read every shard's checksum, then recompute ``sample`` of the cached images × views, always the same ones.

    Raises:
        UserError: the cache's folder holds another one.
    """
    cache.is_recorded()
    made = made_in(cache.folder)
    shards = [shard for plan in read_plans(cache.folder).values() for shard in plan if shard.name in made]
    damaged = unsound(cache.folder, shards)
    uri_of = dict(zip(rows.column("image_id"), rows.column("uri"), strict=True))
    total, chosen = _choose([shard for shard in shards if shard.name not in damaged], uri_of, sample)
    found = Difference(sampled=len(chosen), cached=total, damaged=sorted(damaged))
    if not chosen:
        return found
    differences = []
    largest_value = 0.0
    with progress("images × views run again", len(chosen)) as advance:
        step = chosen[0][0].batch
        for start in range(0, len(chosen), step):
            batch = chosen[start : start + step]
            live = forward(torch.stack([_render(cache.key, place, uri_of) for place in batch]))
            expected, values = _comparable(live, np.stack([_read(cache.folder, place) for place in batch]))
            differences += np.abs(expected - values).max(1).tolist()
            largest_value = max(largest_value, float(np.abs(values).max()))
            advance(len(batch))
    worst = int(np.argmax(np.nan_to_num(differences, nan=np.inf)))  # a NaN is the largest difference of all
    shard, at, view = chosen[worst]
    return replace(
        found,
        largest=differences[worst],
        where=f"{uri_of[shard.images[at]]}, view {view}",
        allowed=ALLOWED[cache.key.precision] * largest_value,
    )


def _choose(shards: Sequence[Shard], uri_of: dict[str, str], sample: int) -> tuple[int, list[Place]]:
    """The number of images × views there are, and a sample of them."""
    images = [(shard, at) for shard in shards for at, image in enumerate(shard.images) if image in uri_of]
    ends = np.cumsum([shard.stop - shard.start for shard, _ in images])
    total = int(ends[-1]) if images else 0
    drawn = np.random.default_rng(0).permutation(total)[:sample]
    chosen = []
    for number in np.sort(drawn):
        which = int(np.searchsorted(ends, number, side="right"))
        shard, at = images[which]
        chosen.append((shard, at, shard.stop - int(ends[which] - number)))
    return total, chosen


def _render(key: CacheKey, place: Place, uri_of: dict[str, str]) -> torch.Tensor:
    shard, at, view = place
    image_id = shard.images[at]
    image = load(uri_of[image_id])
    return to_chw(key.input.render(image, key.views.draw(image_id, view, *image.size)))


def _read(folder: Path, place: Place) -> NDArray[Any]:
    shard, at, view = place
    return np.asarray(mapped(shard.values_path(folder))[at, view - shard.start])


def _comparable(live: NDArray[np.float32], stored: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Live and stored numbers [N, n] side by side; of top logits, those of the labels that were kept, and the rest."""
    if stored.dtype.names is None:
        return live, stored.astype(np.float32)
    labels = stored["label"].astype(np.intp)
    others = live.copy()
    np.put_along_axis(others, labels, -np.inf, -1)
    kept = np.take_along_axis(live, labels, -1)
    return (
        np.concatenate([kept, logsumexp(others, axis=-1, keepdims=True)], -1),
        np.concatenate([stored["logit"].astype(np.float32), stored["others"][:, None]], -1),
    )
