"""What the formats have in common. No torch here."""

import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # importing torch takes seconds, and checking a release may do without it
    from models.classifier import Classifier

RAN, CONVERTED, NOT_WRITTEN = "ran", "converted, not run", "not written"
"""What ``formats.json`` says became of a format."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""``pixel_values`` [N, 3, S, S] to ``logits`` [N, C], on one thread."""


@dataclass(frozen=True)
class Source:
    """The trained model, as the formats are made from it."""

    classifier: "Classifier"
    """With its branches fused, on the CPU, in eval mode."""
    onnx: Path
    """Its ``model.onnx``."""
    metadata: Mapping[str, str]
    """What the ONNX file says of itself, each value as JSON: labels, input contract, digests, temperature."""


@dataclass(frozen=True)
class Format:
    """One way to write a model, and to run what was written."""

    title: str
    """As its makers write it."""
    package: str
    """What has to be installed, and is imported."""
    path: Path
    """The file, or folder, that an app loads, inside a ``NAME-onnx`` folder; what lies beside it belongs to it."""
    convert: Callable[[Source, Path], None]
    """Write it there. The folder exists; the same source gives the same bytes."""
    load: Callable[[Path], Run] | None
    """Make it ready to run; null where Linux has no runtime."""

    @property
    def made_with(self) -> str:
        """Package and version, of converter and runtime alike."""
        return f"{self.package} {version(self.package)}"


def whole_metadata(metadata: Mapping[str, str]) -> str:
    """All of the metadata as one JSON object, the same each time."""
    values: dict[str, Any] = {key: json.loads(value) for key, value in metadata.items()}
    return json.dumps(values, sort_keys=True)


def first_line(error: Exception) -> str:
    """What an error says first, without the folders of this machine."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", lines[0])


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what libraries print, from Python or from below it, off the terminal: dozens of lines that help no one."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as silent, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for number in (1, 2):
                os.dup2(silent.fileno(), number)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
