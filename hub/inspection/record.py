"""Bounds of what ``inspect`` runs, and everything that it says of one model: what its JSON holds."""

from dataclasses import dataclass
from typing import Literal

from data.config import Kind
from models.spec import ResizeMode

SCHEMA = 1
"""Raised whenever a reader of the JSON would have to change."""

WEIGHTS = 500_000_000
MACS = 500_000_000_000
"""Above these a model is not run unless that is asked for. EVA-02 large at 448 pixels takes 362e9, half a minute on one
slow core."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what ``inspect`` may do."""

    export: bool = True
    """Try the export to ONNX."""
    huge: bool = False
    """Run models of any size."""

    def refusal(self, weights: float, macs: int | None) -> str | None:
        """The reason why a model of this size is not run; null where it is."""
        if self.huge or (weights <= WEIGHTS and (macs or 0) <= MACS):
            return None
        size = f"{weights / 1e6:,.0f} M weights" + (f" and {macs / 1e9:,.0f} G MACs" if macs else "")
        return f"not run: {size}; --huge runs it all the same"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or an output."""

    name: str
    type: str
    """ONNX's name of the type of its numbers, such as ``float`` or ``uint8``."""
    shape: tuple[int | str, ...]
    """A word stands for a side that differs from run to run."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The way from a decoded image to the input."""

    size: int
    """Pixels a side."""
    resize: ResizeMode
    """``squash`` takes the whole image; ``center`` the middle of it."""
    crop_pct: float
    """``center`` resizes the shorter side to size / crop_pct."""
    interpolation: str
    """The model's own; PocketEVA always resizes bicubic."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one image, on one thread."""

    ms: float
    """The median."""
    runs: int
    runtime: str
    processor: str


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file of the model."""

    name: str
    """Path below the folder."""
    bytes: int
    latency: Timing | None = None
    """Null where it was not run."""
    not_timed: str | None = None
    """The reason, where one is needed."""


@dataclass(frozen=True, kw_only=True)
class OnnxReadiness:
    """The ONNX file that there is, or can be made."""

    state: Literal["is ONNX", "exports", "fails", "not tried"]
    reason: str | None = None
    """The reason why it fails or was not tried."""
    opset: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    """Of the export."""
    difference: float | None = None
    """Largest of a logit between PyTorch and ONNX Runtime, on noise, relative to the largest logit."""


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """The tested students that the model could teach."""

    students: tuple[str, ...]
    """Those that have no more weights than it."""
    reason: str
    """The conditions, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """One model; null where nothing is known."""

    name: str
    kind: Literal["timm model", "checkpoint", "ONNX file", "release"]
    architecture: str | None = None
    weights: str | None = None
    """Timm's own on the Hub, for a timm model; none were fetched, and nothing that is said depends on them."""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    """In the order of the outputs."""
    label_kind: Kind | None = None
    num_labels: int | None = None
    decision: str | None = None
    """``argmax``, ``levels`` or ``threshold``: how a release decides."""
    parameters: int | None = None
    macs: int | None = None
    """Multiplications for one image."""
    macs_counted: str | None = None
    """The operations that were counted, or why none was."""
    files: tuple[ModelFile, ...] = ()
    batch: int | None = None
    """Images at a time; null takes any number."""
    any_size: bool | None = None
    """It takes images of any size."""
    sizes: tuple[int, ...] = ()
    """Of the sizes that were tried, in pixels a side, those that it takes as it is."""
    rebuilt: bool = False
    """Built for one size, and for another one with other position embeddings: ``image_size`` in a config does it."""
    license: str | None = None
    onnx: OnnxReadiness
    latency: Timing | None = None
    """Of the file that stands for the model, or of its export."""
    not_timed: str | None = None
    teaching: Teaching
