"""A format: how a model is written for another runtime, and how that file is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # importing torch takes seconds, and checking a release may do without it
    from models.classifier import Classifier

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""``pixel_values`` [N, 3, S, S] to ``logits`` [N, C], on one thread."""


@dataclass(frozen=True)
class Source:
    """The trained model, as the formats are made from it."""

    classifier: "Classifier"
    """With its branches fused, on the CPU, in eval mode."""
    onnx: Path
    """Its ``model.onnx``."""
    metadata: Mapping[str, str]
    """Of the ONNX file, each value as JSON: labels, decision rule, input contract, digests, temperature."""


@dataclass(frozen=True)
class Format:
    """One way to write a model, and to run what was written."""

    title: str
    """As its makers write it."""
    package: str
    """The package that has to be installed, and is imported."""
    path: Path
    """The file, or folder, that an app loads, inside a ``NAME-onnx`` folder; what lies beside it belongs to it."""
    convert: Callable[[Source, Path], None]
    """Write it there. The folder exists; the same source gives the same bytes."""
    load: Callable[[Path], Infer] | None
    """Make it ready to run; null where Linux has no runtime."""

    @property
    def made_with(self) -> str:
        """Package and version, of converter and runtime alike."""
        return f"{self.package} {version(self.package)}"
