"""The images that a model's files are checked on, as the model takes them, and what the files make of them."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.loaders import load
from export.onnx_graph import graph_digest
from export.session import open_session, run_one_by_one
from models.spec import InputSpec
from run.usage import usable_cores


@dataclass(frozen=True)
class RenderedImages:
    """Images as a model takes them, decoded when first read.

    They are kept in 8 bits, a quarter of the memory, and normalized when read.
    """

    uris: Sequence[str]
    spec: InputSpec
    _logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By digest of a file's graph."""

    @cached_property
    def rendered(self) -> NDArray[np.uint8]:
        """uint8 [N, S, S, 3]."""
        shape = (len(self.uris), self.spec.size, self.spec.size, 3)
        if not self.uris:
            return np.empty(shape, np.uint8)
        # On disk, because thousands of large ones do not fit into memory; the file goes when the array does.
        with tempfile.TemporaryFile() as file:
            rendered = np.memmap(file, np.uint8, "w+", shape=shape)

        def render(place: int) -> None:
            rendered[place] = self.spec.render(load(self.uris[place]))

        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(render, range(len(self.uris))))  # the list raises what a thread raised
        return rendered

    def logits(self, path: Path) -> NDArray[np.float32]:
        """Logits [N, C] that a file gives, computed once for each graph: its metadata may change meanwhile."""
        digest = graph_digest(path)
        if digest not in self._logits:
            # Here, not in the threads below: each of them would render all images.
            _ = self.rendered
            self._logits[digest] = run_one_by_one(open_session(path, threads=1), self)
        return self._logits[digest]

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        """Some of them [n, 3, S, S]."""
        return self.spec.normalize(self.rendered[which])

    def __len__(self) -> int:
        return len(self.uris)


Pixels = NDArray[np.float32] | RenderedImages
"""Images [N, 3, S, S] as a model takes them."""


def logits_of(path: Path, pixels: Pixels) -> NDArray[np.float32]:
    """Logits [N, C] that a file gives of images, each in a batch of its own, on one thread."""
    if isinstance(pixels, RenderedImages):
        return pixels.logits(path)
    return run_one_by_one(open_session(path, threads=1), pixels)
