"""Does the cache still hold what the live teacher gives?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from cache.plan import read_plans
from cache.shards import Shard, made_in, mapped, unsound
from cache.view_cache import ViewCache
from data.loaders import load, to_chw
from data.manifest import Manifest
from data.views import ViewSpec
from models.forward import Forward
from models.spec import InputSpec
from run.console import progress

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
        """Whether the cache is what the teacher gives."""
        return not self.damaged and self.largest <= self.allowed


def compare(
    cache: ViewCache, manifest: Manifest, forward: Forward, input_spec: InputSpec, spec: ViewSpec, sample: int
) -> Difference:
    """Read every shard's checksum, then recompute ``sample`` of the cached images × views, always the same ones."""
    made = made_in(cache.folder)
    shards = [shard for plan in read_plans(cache.folder).values() for shard in plan if shard.name in made]
    damaged = {shard.name for shard in unsound(cache.folder, shards)}
    uri_of = dict(zip(manifest.column("image_id"), manifest.column("uri"), strict=True))
    sound = [shard for shard in shards if shard.name not in damaged]
    total, chosen = _choose(sound, uri_of, sample)
    found = Difference(sampled=len(chosen), cached=total, damaged=sorted(damaged))
    if not chosen:
        return found
    differences, largest_value = np.zeros(len(chosen)), 0.0
    with progress("images × views run again", len(chosen)) as advance:
        most = chosen[0][0].batch
        for start in range(0, len(chosen), most):
            batch = chosen[start : start + most]
            live = forward(
                torch.stack([_render(shard.images[at], view, uri_of, input_spec, spec) for shard, at, view in batch])
            )
            stored = np.stack(
                [mapped(shard.values_path(cache.folder))[at, view - shard.start] for shard, at, view in batch]
            )
            expected, values = _comparable(live, stored)
            differences[start : start + len(batch)] = np.abs(expected - values).max(1)
            largest_value = max(largest_value, float(np.abs(values).max()))
            advance(len(batch))
    worst = int(np.argmax(np.nan_to_num(differences, nan=np.inf)))
    shard, at, view = chosen[worst]
    return Difference(
        sampled=found.sampled,
        cached=total,
        damaged=found.damaged,
        largest=float(differences[worst]),
        where=f"{uri_of[shard.images[at]]}, view {view}",
        allowed=ALLOWED[cache.key.precision] * largest_value,
    )


def _choose(shards: Sequence[Shard], uri_of: dict[str, str], sample: int) -> tuple[int, list[tuple[Shard, int, int]]]:
    """How many images × views there are, and some of them: shard, place of the image, view."""
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


def _render(image_id: str, view: int, uri_of: dict[str, str], input_spec: InputSpec, spec: ViewSpec) -> torch.Tensor:
    image = load(uri_of[image_id])
    return to_chw(input_spec.render(image, spec.draw(image_id, view, *image.size)))


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
