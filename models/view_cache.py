"""The view cache: what a frozen model gives for image × view, computed once, memory-mapped for ever after.

A cache is a folder named after its key (weights, input contract, view distribution, precision). It holds shards: the
views ``start`` to ``stop`` of up to ``SHARD_IMAGES`` images, as ``NAME.npy`` (float16 [images, views, width]) and
``NAME.json`` (which images, which views, the checksum). The JSON is written last and makes the shard count; a shard
without it, or whose checksum is wrong, is made again. Missing images are sorted by id and cut at fixed places, and a
batch never crosses a shard, so a cache comes out the same however often the making of it was interrupted.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.loaders import load, to_chw
from data.manifest import Manifest
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import BATCH_SIZE, Forward, Output, forward_of
from models.spec import InputSpec
from run.config import TrainerConfig
from run.console import log, progress
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, json_digest, write_json

SHARD_IMAGES = 256


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """Everything that the cached numbers depend on, besides the images and view indices."""

    output: Output
    weights: str
    """Digest of the weights that matter: all of them for logits, those before the head for features."""
    input: str
    views: str
    precision: str
    width: int
    """Numbers per image and view."""


@dataclass(frozen=True)
class Shard:
    """Views ``start`` to ``stop`` of some images."""

    path: Path
    images: tuple[str, ...]
    start: int
    stop: int

    def open(self) -> NDArray[np.float16]:
        """The values [images, views, width], memory-mapped."""
        values: NDArray[np.float16] = np.load(self.path, mmap_mode="r")
        return values


class ViewCache:
    """The shards of one key, below ``root``; damaged ones are removed when the cache is opened."""

    def __init__(self, root: Path, key: CacheKey) -> None:
        self.key = key
        self.folder = root / f"{key.output}-{json_digest(asdict(key))[:12]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "key.json", asdict(key))
        self._shards = [
            shard for path in sorted(self.folder.glob("[0-9]*-*.json")) if (shard := _open(path)) is not None
        ]

    def read(self, image_ids: Sequence[str], views: int) -> NDArray[np.float16]:
        """Values [images, views, width] of views 0 to ``views``; all must be there."""
        wanted = {image: row for row, image in enumerate(image_ids)}
        result = np.full((len(image_ids), views, self.key.width), np.nan, np.float16)
        for shard in self._shards:
            inside = [(wanted[image], at) for at, image in enumerate(shard.images) if image in wanted]
            stop = min(shard.stop, views)
            if inside and shard.start < stop:
                rows, places = (list(column) for column in zip(*inside, strict=True))
                result[rows, shard.start : stop] = shard.open()[places, : stop - shard.start]
        assert not np.isnan(result).any(), "fill() the cache before reading it"
        return result

    def fill(
        self, manifest: Manifest, views: int, forward: Forward, input_spec: InputSpec, spec: ViewSpec, *, workers: int
    ) -> int:
        """Compute whatever of views 0 to ``views`` is missing for these images.

        Returns:
            How many images × views went through the model.

        Raises:
            UserError: the model gave a value that is not finite in float16; the image is named.
        """
        uri_of = dict(zip(manifest.column("image_id"), manifest.column("uri"), strict=True))
        plan = list(self._plan(list(uri_of), views))
        total = sum(len(images) * (views - start) for images, start in plan)
        if not total:
            return 0
        dataset = _RenderDataset(uri_of, input_spec, spec)
        batches = [
            [(image, start, views) for image in images[i : i + step]]
            for images, start in plan
            for step in [max(1, BATCH_SIZE // (views - start))]
            for i in range(0, len(images), step)
        ]
        loader = iter(DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=torch.stack))
        with progress(f"{self.key.output} of {len(uri_of):,} images × {views} views", total) as advance:
            for images, start in plan:
                parts: list[NDArray[np.float32]] = []
                while sum(map(len, parts)) < len(images):
                    renders: Tensor = next(loader)
                    values = np.concatenate(
                        [forward(chunk) for chunk in torch.split(renders.flatten(0, 1), BATCH_SIZE)]
                    )
                    parts.append(values.reshape(len(renders), views - start, self.key.width))
                    advance(len(values))
                self._write(images, start, views, np.concatenate(parts), uri_of)
        return total

    def _plan(self, images: Sequence[str], views: int) -> Iterator[tuple[list[str], int]]:
        """The shards to make: their images, and the first view that is missing."""
        have: dict[str, int] = defaultdict(int)
        for shard in sorted(self._shards, key=lambda shard: shard.start):
            for image in shard.images:
                if have[image] == shard.start:
                    have[image] = shard.stop
        by_start = defaultdict(list)
        for image in sorted(images):
            if have[image] < views:
                by_start[have[image]].append(image)
        for start, missing in sorted(by_start.items()):
            for i in range(0, len(missing), SHARD_IMAGES):
                yield missing[i : i + SHARD_IMAGES], start

    def _write(
        self, images: list[str], start: int, stop: int, values: NDArray[np.float32], uri_of: dict[str, str]
    ) -> None:
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        bad = np.flatnonzero(~np.isfinite(stored).all((1, 2)))
        if len(bad):
            raise UserError(f"the teacher gives {self.key.output} that are not finite for {uri_of[images[bad[0]]]}")
        path = self.folder / f"{start}-{json_digest(images)[:16]}.npy"
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, stored)
        record: dict[str, Json] = {"images": images, "start": start, "stop": stop, "sha256": file_digest(path)}
        write_json(path.with_suffix(".json"), record)
        self._shards.append(Shard(path, tuple(images), start, stop))


class _RenderDataset(Dataset[Tensor]):
    """Items (image id, first view, last view) as uint8 renders [views, 3, S, S], each image decoded once."""

    def __init__(self, uri_of: dict[str, str], input_spec: InputSpec, spec: ViewSpec) -> None:
        self._uri_of = uri_of
        self._input_spec = input_spec
        self._spec = spec

    def __getitem__(self, item: tuple[str, int, int]) -> Tensor:
        image_id, start, stop = item
        image = load(self._uri_of[image_id])
        views = [self._spec.draw(image_id, index, *image.size) for index in range(start, stop)]
        return torch.stack([to_chw(self._input_spec.render(image, view)) for view in views])


def _open(path: Path) -> Shard | None:
    values = path.with_suffix(".npy")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if file_digest(values) == record["sha256"]:
            return Shard(values, tuple(record["images"]), record["start"], record["stop"])
    except (FileNotFoundError, ValueError):
        pass  # the values are gone, or the record is cut short
    log.print(f"{values} is damaged and will be made again")
    path.unlink()
    return None


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
) -> NDArray[np.float16]:
    """A frozen model's outputs for views 0 to ``views`` of these rows [rows, views, width].

    They come from the cache below ``root``; whatever is missing there is computed first.
    """
    key = CacheKey(
        output=output,
        weights=classifier.weights_digest(backbone_only=output == "features"),
        input=classifier.spec.digest,
        views=spec.digest,
        precision=precision,
        width=classifier.feature_width if output == "features" else len(classifier.labels),
    )
    cache = ViewCache(root, key)
    forward = forward_of(classifier, output, trainer, precision)
    cache.fill(manifest, views, forward, classifier.spec, spec, workers=trainer.num_workers)
    return cache.read(manifest.column("image_id"), views)


def head_logits(classifier: Classifier, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits [..., C] of the head on features [..., D], in float32."""
    weight, bias = (
        parameter.detach().float().cpu().numpy() for parameter in (classifier.head.weight, classifier.head.bias)
    )
    logits: NDArray[np.float32] = features.astype(np.float32) @ weight.T + bias
    return logits
