"""Renders of shards' views in batches, made by worker processes while the model runs."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.loaders import load, to_chw, worker_settings
from data.manifest import Manifest
from data.views import ViewSpec
from models.forward import BATCH_SIZE
from models.shards import Shard
from models.spec import InputSpec

Item = tuple[int, int, int]
"""A row of the manifest, the first view and the last (exclusive)."""


def render_batches(
    manifest: Manifest, shards: Sequence[Shard], input_spec: InputSpec, spec: ViewSpec, *, workers: int
) -> Iterator[Tensor]:
    """uint8 renders [images, views, 3, S, S], shard by shard; each image is decoded once.

    A batch holds as many images as fit into ``BATCH_SIZE`` with all their views, one at least, and never crosses a
    shard: so the model sees a shard in the same batches whichever shards are made before it.
    """
    dataset = _Renders(manifest, input_spec, spec)
    row_of = {image: row for row, image in enumerate(manifest.column("image_id"))}
    loader = DataLoader(
        dataset,
        batch_sampler=_Batches(shards, row_of),
        collate_fn=torch.stack,
        **worker_settings(workers),
    )
    return iter(loader)


class _Batches:
    """The items of each batch, named while they are needed: a million images' would be a long list."""

    def __init__(self, shards: Sequence[Shard], row_of: dict[str, int]) -> None:
        self._shards = shards
        self._row_of = row_of

    def __iter__(self) -> Iterator[list[Item]]:
        for shard in self._shards:
            step = max(1, BATCH_SIZE // (shard.stop - shard.start))
            for i in range(0, len(shard.images), step):
                yield [(self._row_of[image], shard.start, shard.stop) for image in shard.images[i : i + step]]


class _Renders(Dataset[Tensor]):
    def __init__(self, manifest: Manifest, input_spec: InputSpec, spec: ViewSpec) -> None:
        self._uris = manifest.table.column("uri").combine_chunks()  # Arrow, not lists: worker processes share it
        self._ids = manifest.table.column("image_id").combine_chunks()
        self._input_spec = input_spec
        self._spec = spec

    def __getitem__(self, item: Item) -> Tensor:
        """Renders [views, 3, S, S] of one image."""
        row, start, stop = item
        image_id, image = self._ids[row].as_py(), load(self._uris[row].as_py())
        views = [self._spec.draw(image_id, index, *image.size) for index in range(start, stop)]
        return torch.stack([to_chw(self._input_spec.render(image, view)) for view in views])
