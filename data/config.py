"""Config sections for labels, images, splits and views. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from run.config import require


@dataclass(frozen=True, kw_only=True)
class LabelsConfig:
    """The run's label set."""

    names: list[str]
    """Every label, in the order of the model's outputs; for ordinal sets from the mildest to the most severe."""
    kind: Literal["nominal", "ordinal"] = "nominal"
    """``ordinal`` where the order means something."""

    def __post_init__(self) -> None:
        require(len(self.names) >= 2, "labels.names", self.names, "two labels or more")
        require(len(set(self.names)) == len(self.names), "labels.names", self.names, "free of repeats")
        tidy = all(name and name == name.strip() for name in self.names)
        require(tidy, "labels.names", self.names, "free of empty names and of spaces around names")


@dataclass(frozen=True, kw_only=True)
class SplitsConfig:
    """Shares of the images that are held out; the rest is for training."""

    val: float = 0.1
    """Chooses the epoch to keep."""
    calibration: float = 0.1
    """Fits temperatures; export is checked on it."""
    test: float = 0.2
    """Judged once, by ``verify``."""
    seed: int = 0
    """Draws the splits; separate from the run's seed, so that changing that one moves no image."""

    def __post_init__(self) -> None:
        for key in ("val", "calibration", "test"):
            require(0 < getattr(self, key) < 1, f"data.splits.{key}", getattr(self, key), "between 0 and 1")
        total = self.val + self.calibration + self.test
        require(total < 1, "data.splits", round(total, 6), "below 1 in total, so that images are left for training")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where labels and images come from."""

    format: Literal["folder", "csv", "huggingface", "elpv"]
    """``folder``: one folder per label, or split folders with label folders inside. ``csv``: a row per image.
    ``huggingface``: a ``save_to_disk`` folder or a Hub id. ``elpv``: the installed elpv-dataset package."""
    path: str = ""
    """The folder, file or Hub id; not used by ``elpv``."""
    image_column: str = "image"
    """Column with the image, or its path relative to the file (csv, huggingface)."""
    label_column: str = "label"
    """Column with the label name (csv, huggingface)."""
    vote_columns: list[str] | None = None
    """Instead of ``label_column`` in a csv: one column of votes or probabilities per label, in the order of
    ``labels.names``."""
    split_column: str | None = None
    """Column with train, val, calibration or test (csv); null draws the splits."""
    skip_unreadable: bool = False
    """Leave out images that cannot be decoded, and say so, instead of stopping."""
    splits: SplitsConfig = SplitsConfig()
    """How splits are drawn where the source gives none."""


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """The views of each training image that the teacher is run over and the student learns from."""

    count: int = 8
    """Views per image, the whole image as it is among them."""
    crop_scale: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest share of the image's area in a crop."""
    crop_ratio: tuple[float, float] = (0.75, 1.333)
    """Narrowest and widest aspect of a crop, relative to the image's own."""
    horizontal_flip: bool = True
    """Mirror half of the views left to right."""
    vertical_flip: bool = False
    """Mirror half of the views top to bottom."""
    brightness: float = 0.2
    """Brightness factors are drawn from 1 ± this."""
    contrast: float = 0.2
    """Contrast factors are drawn from 1 ± this."""
    saturation: float = 0.2
    """Saturation factors are drawn from 1 ± this."""

    def __post_init__(self) -> None:
        require(self.count >= 1, "views.count", self.count, "1 or more")
        for key, top in (("crop_scale", 1.0), ("crop_ratio", float("inf"))):
            low_high = getattr(self, key)
            ordered = 0 < low_high[0] <= low_high[1] <= top
            require(ordered, f"views.{key}", low_high, "two positive numbers, the smaller first (scales up to 1)")
        for key in ("brightness", "contrast", "saturation"):
            require(0 <= getattr(self, key) < 1, f"views.{key}", getattr(self, key), "at least 0 and below 1")
