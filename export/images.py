"""The images that a model's files are checked on: decoded, or as the model takes them."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.loaders import load
from models.spec import InputSpec


@dataclass(frozen=True)
class RenderedImages:
    """Images as a model takes them; they are kept in 8 bits, a quarter of the memory, and normalized when read.

    Args:
        rendered: uint8 [N, S, S, 3].
    """

    rendered: NDArray[np.uint8]
    spec: InputSpec

    @classmethod
    def of(cls, uris: Sequence[str], spec: InputSpec) -> "RenderedImages":
        """Decode and render images."""
        shape = (len(uris), spec.size, spec.size, 3)
        if not uris:
            return cls(np.empty(shape, np.uint8), spec)
        # On disk, because thousands of large ones do not fit into memory; the file goes when the array does.
        with tempfile.TemporaryFile() as file:
            rendered = np.memmap(file, np.uint8, "w+", shape=shape)

        def render(place: int) -> None:
            rendered[place] = spec.render(load(uris[place]))

        with ThreadPoolExecutor() as pool:
            list(pool.map(render, range(len(uris))))  # the list raises what a thread raised
        return cls(rendered, spec)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        """Some of them [n, 3, S, S]."""
        return self.spec.normalize(self.rendered[which])

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """One after the other [3, S, S]."""
        return (self.spec.normalize(image[None])[0] for image in self.rendered)

    def __len__(self) -> int:
        return len(self.rendered)


Pixels = NDArray[np.float32] | RenderedImages
"""Images [N, 3, S, S] as a model takes them."""
