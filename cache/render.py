"""Renders of shards' views in batches, made by worker processes while the model runs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cache.shards import Shard
from data.loaders import load, worker_settings
from data.manifest import Manifest
from data.views import ViewSpec
from models.spec import InputSpec

Item = tuple[int, int, int]
"""A row of the manifest, the first view and the last (exclusive)."""


def render_batches(
    rows: Manifest, shards: Sequence[Shard], input_spec: InputSpec, views: ViewSpec, *, workers: int
) -> Iterator[Tensor]:
    """uint8 renders [images, views, 3, S, S], shard by shard; each image is decoded once.

    A batch holds as many images as fit into the shard's ``batch`` with all their views, one at least, and never crosses
    a shard: so the model sees a shard in the same batches whichever shards are made before it.
    """
    dataset = _Renders(rows, input_spec, views)
    row_of = {image: row for row, image in enumerate(rows.column("image_id"))}
    batches = _batches(shards, row_of)
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=torch.from_numpy, **worker_settings(workers))
    return iter(loader)


def _batches(shards: Sequence[Shard], row_of: dict[str, int]) -> Iterator[list[Item]]:
    """The items of each batch, named while they are needed: a million images' would be a long list."""
    for shard in shards:
        rows = [row_of[image] for image in shard.images]
        step = shard.images_at_a_time
        for i in range(0, len(rows), step):
            yield [(row, shard.start, shard.stop) for row in rows[i : i + step]]


class _Renders(Dataset[Any]):
    def __init__(self, rows: Manifest, input_spec: InputSpec, views: ViewSpec) -> None:
        self._uris = rows.table.column("uri").combine_chunks()  # Arrow, not lists: worker processes share it
        self._ids = rows.table.column("image_id").combine_chunks()
        self._input_spec = input_spec
        self._views = views

    def __getitems__(self, items: list[Item]) -> NDArray[np.uint8]:
        """Renders [images, views, 3, S, S] of images with as many views each."""
        (_, start, stop), *_ = items
        size = self._input_spec.size
        batch = np.empty((len(items), stop - start, 3, size, size), np.uint8)
        for renders, (row, *_) in zip(batch, items, strict=True):
            image_id = self._ids[row].as_py()
            image = load(self._uris[row].as_py())  # once for all of its views: decoding is the dearer part
            for render, index in zip(renders, range(start, stop), strict=True):
                view = self._views.draw(image_id, index, *image.size)
                render[:] = self._input_spec.render(image, view).transpose(2, 0, 1)
        return batch
