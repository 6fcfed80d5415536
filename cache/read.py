"""Reading a view cache: outputs and logits of image × view, where they are asked for and never as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.key import ViewCache
from cache.plan import planned_shards
from cache.shards import Shard, mapped
from cache.top_labels import reconstruct
from models.classifier import Classifier

Unpack = Callable[[NDArray[Any]], NDArray[np.floating]]

CHUNK_ROWS = 4096

MOST_MAPS = 30_000
"""Files that are mapped at a time; Linux allows a process 65,530 maps."""


@dataclass(frozen=True)
class _Layer:
    """Views ``start`` to ``stop`` of each row: the number of their shard [rows], −1 for none, and the place in it."""

    start: int
    stop: int
    shards: NDArray[np.int32]
    places: NDArray[np.int32]


def read_outputs(cache: ViewCache, image_ids: Sequence[str], views: int) -> "Outputs":
    """Values [rows, views, width] of views 0 to ``views``; all of them must be in the cache."""
    key = cache.key
    unpack: Unpack = np.asarray if key.layout == "all" else partial(reconstruct, count=key.width)
    shards = [shard for _, shard in planned_shards(cache.folder, image_ids, views)]
    return Outputs(cache.folder, shards, image_ids, views, key.width, unpack)


class Outputs:
    """Values [rows, views, width], indexed like an array by rows and views: ``outputs[rows, views]``.

    Every index reads what it asks for from memory-mapped shards. Only the index is held: 8 bytes a row. A worker
    process gets this and maps the shards itself.

    Args:
        shards: all that is asked for is in these.
        unpack: turns what is stored into values.
    """

    def __init__(
        self, folder: Path, shards: Sequence[Shard], image_ids: Sequence[str], views: int, width: int, unpack: Unpack
    ) -> None:
        self.shape = len(image_ids), views, width
        self._paths = [shard.values_path(folder) for shard in shards]
        self._layers = _layers(shards, image_ids)
        self._unpack = unpack
        self._maps: dict[int, NDArray[Any]] = {}
        missing = np.ones((len(image_ids), views), np.bool_)
        for layer in self._layers:
            missing[layer.shards >= 0, layer.start : layer.stop] = False
        assert not missing.any(), "fill() the cache before reading it"

    def __getitem__(self, key: Any) -> NDArray[np.floating]:
        """Values [..., width] at an index of rows, or of rows and views, as NumPy understands it."""
        if isinstance(key, tuple) and len(key) == 2 and all(isinstance(place, int) for place in key):
            return self._one(*key)
        rows, views = (np.asarray(axis[key]) for axis in np.broadcast_arrays(*self._axes))
        shards, places, inside = self._find(rows.ravel(), views.ravel())
        # Grouped by shard: each file is looked up once for a batch.
        order = np.argsort(shards, kind="stable")
        cuts = np.flatnonzero(np.diff(shards[order])) + 1
        stored = [(group, self._map(shards[group[0]])) for group in np.split(order, cuts) if len(group)]
        parts = [(group, self._unpack(values[places[group], inside[group]])) for group, values in stored]
        result = np.empty((rows.size, self.shape[2]), parts[0][1].dtype if parts else np.float16)
        for group, values in parts:
            result[group] = values
        return result.reshape(*rows.shape, self.shape[2])

    def _one(self, row: int, view: int) -> NDArray[np.floating]:
        """Values [width] of one row and view, as a student's workers ask for them, without the work for many."""
        rows, views, _ = self.shape
        if not (-rows <= row < rows and -views <= view < views):
            raise IndexError(f"row {row}, view {view} of {rows} rows, {views} views")
        view %= views
        layer = next(layer for layer in self._layers if layer.start <= view < layer.stop and layer.shards[row] >= 0)
        place = layer.places[row]
        stored = self._map(int(layer.shards[row]))[place : place + 1, view - layer.start]
        return self._unpack(stored).reshape(-1)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped: another process maps the shards itself."""
        # The axes are as large as the cache's rows and are made again where they are needed.
        state = {name: value for name, value in self.__dict__.items() if name != "_axes"}
        return {**state, "_maps": {}}

    @cached_property
    def _axes(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        # Kept: a head reads a million rows in hundreds of parts.
        return np.arange(self.shape[0])[:, None], np.arange(self.shape[1])[None]

    def _find(
        self, rows: NDArray[np.intp], views: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The shard, the image's place in it and the view's, for rows and views [N]."""
        shards, places, inside = np.full((3, len(rows)), -1)
        for layer in self._layers:
            here = (layer.start <= views) & (views < layer.stop) & (layer.shards[rows] >= 0)
            shards[here] = layer.shards[rows[here]]
            places[here] = layer.places[rows[here]]
            inside[here] = views[here] - layer.start
        return shards, places, inside

    def _map(self, shard: int) -> NDArray[Any]:
        if shard not in self._maps:
            if len(self._maps) >= MOST_MAPS:
                # All of them: to map a file again costs little, to keep an order of use costs more.
                self._maps.clear()
            self._maps[shard] = mapped(self._paths[shard])
        return self._maps[shard]


def _layers(shards: Sequence[Shard], image_ids: Sequence[str]) -> list[_Layer]:
    row_of = {image: row for row, image in enumerate(image_ids)}
    layers: dict[tuple[int, int], _Layer] = {}
    for number, shard in enumerate(shards):
        span = shard.start, shard.stop
        if span not in layers:
            layers[span] = _Layer(*span, *np.full((2, len(image_ids)), -1, np.int32))
        inside = [(row_of[image], place) for place, image in enumerate(shard.images) if image in row_of]
        if inside:
            rows, places = np.array(inside).T
            layers[span].shards[rows] = number
            layers[span].places[rows] = places
    return list(layers.values())


class HeadLogits:
    """Logits [rows, views, C] in float32 of a head on features [rows, views, D], computed where they are asked for."""

    def __init__(self, classifier: Classifier, features: "Outputs | NDArray[np.floating]") -> None:
        # Copies: the head of a teacher in training goes on changing.
        self._weight = classifier.head.weight.detach().float().cpu().numpy().copy()
        self._bias = classifier.head.bias.detach().float().cpu().numpy().copy()
        self._features = features
        self.shape = *features.shape[:-1], len(self._bias)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Logits [..., C] at an index of rows and views."""
        logits: NDArray[np.float32] = self._features[key].astype(np.float32) @ self._weight.T + self._bias
        return logits


def head_logits(classifier: Classifier, features: Outputs | NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits [..., C] of the head on features [..., D], in float32; a chunk of features is in memory at a time."""
    lazy = HeadLogits(classifier, features)
    logits = np.empty(lazy.shape, np.float32)
    for start in range(0, len(logits), CHUNK_ROWS):
        logits[start : start + CHUNK_ROWS] = lazy[start : start + CHUNK_ROWS]
    return logits


ViewOutputs = Outputs | HeadLogits
