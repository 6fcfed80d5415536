"""Config sections for labels, images, splits and views. Nothing here imports torch."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from run.config import require
from run.files import Json

Kind = Literal["nominal", "ordinal", "multilabel"]
Format = Literal[
    "auto",
    "folder",
    "csv",
    "tsv",
    "jsonl",
    "parquet",
    "huggingface",
    "label_studio",
    "cvat",
    "coco",
    "classes_csv",
    "elpv",
]


@dataclass(frozen=True, kw_only=True)
class LabelsConfig:
    """The run's label set."""

    names: list[str]
    """Every label, in the order of the model's outputs; for ordinal sets from the mildest to the most severe."""
    kind: Kind = "nominal"
    """``ordinal`` where the order means something; ``multilabel`` where an image may have several labels, or none."""
    costs: list[list[float]] | None = None
    """What it costs to say one label where another is true: a row per true label, a column per label said, zeros where
    both are the same. The expected cost is added to the loss, so that missing a severe label can weigh more than a
    false alarm; 1 weighs about as much as a nat of cross-entropy. Not for multilabel sets."""

    def __post_init__(self) -> None:
        require(len(self.names) >= 2, "labels.names", self.names, "two labels or more")
        require(len(set(self.names)) == len(self.names), "labels.names", self.names, "free of repeats")
        tidy = all(name and name == name.strip() for name in self.names)
        require(tidy, "labels.names", self.names, "free of empty names and of spaces around names")
        if self.costs is not None:
            self._require_costs(self.costs)

    def _require_costs(self, costs: list[list[float]]) -> None:
        size = len(self.names)
        require(self.kind != "multilabel", "labels.costs", costs, "null where labels.kind is multilabel")
        square = len(costs) == size and all(len(row) == size for row in costs)
        require(
            square, "labels.costs", costs, f"{size} rows, one per true label, of {size} numbers, one per label said"
        )
        valid = all(math.isfinite(cost) and cost >= 0 for row in costs for cost in row)
        require(valid, "labels.costs", costs, "free of negative and infinite costs")
        free = all(costs[index][index] == 0 for index in range(size))
        require(free, "labels.costs", costs, "0 where the label said is the true one")


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
class SourceConfig:
    """One place that images, and what is known of them, are read from."""

    format: Format = "auto"
    """``auto`` looks at the path and says what it found and why. ``folder``: one folder per label, or split folders
    with label folders inside. ``csv``, ``tsv``, ``jsonl``, ``parquet``: a row per image. ``huggingface``: a
    ``save_to_disk`` folder, an ``imagefolder`` with a metadata file, or a Hub id. ``label_studio``: its JSON export.
    ``cvat``: CVAT for images 1.1. ``coco``: its JSON. ``classes_csv``: Roboflow's ``_classes.csv``.
    ``elpv``: the installed elpv-dataset package."""
    path: str = ""
    """A folder, a file, a URI (``s3://``, ``gs://``, ``https://``) or a Hub id; not used by ``elpv``."""
    image_root: str | None = None
    """Folder or URI that relative image paths start from, and below which all images have to lie; null is the folder
    of the file that names them."""
    allow_outside: bool = False
    """Take images that lie outside the image root too, by their path or through a symbolic link."""
    image_column: str = "image"
    """Column with the image, or its path (tables, huggingface); the key in a task's data (label_studio). A
    ``metadata`` file of an imagefolder has ``file_name`` instead, unless another name is given here."""
    label_column: str = "label"
    """Column with the label's name; for multilabel sets with a list of names, or names with a separator between them
    (tables, huggingface)."""
    label_separator: str = ";"
    """Between the names in one cell of a multilabel set; spaces around it do not count."""
    label_columns: list[str] | None = None
    """Instead of ``label_column``: one column per label, in the order of ``labels.names`` (tables, huggingface)."""
    label_columns_hold: Literal["votes", "probabilities", "flags"] = "votes"
    """``votes``: how many annotators chose the label. ``probabilities``: they sum to 1, unless the set is multilabel.
    ``flags``: 1 where the label applies and 0 where not."""
    split_column: str | None = None
    """Column with train, val, calibration, test or unlabeled (tables, huggingface; keys beside the image in coco and
    label_studio); an empty cell, or null here, leaves the split to be drawn."""
    group_column: str | None = None
    """Column whose equal values stay in one split: a patient, a video, a session (tables, huggingface; keys beside the
    image in coco and label_studio)."""
    from_name: str | None = None
    """The control whose choices are the labels (label_studio); null where there is only one."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(SourceConfig):
    """Where labels and images come from."""

    unlabeled: SourceConfig | None = None
    """More images, without labels, that students learn the teacher's answers on."""
    skip_unreadable: bool = False
    """Leave out images that cannot be decoded, and say so, instead of stopping."""
    allow_leakage: bool = False
    """Go on although the source gives duplicates of one image to different splits."""
    near_duplicates: Literal["report", "group"] = "report"
    """``group`` keeps near-duplicates in one split, as exact duplicates always are; ``report`` only lists them."""
    near_duplicate_bits: int = 4
    """Two images are near-duplicates if their 64-bit perceptual hashes differ in at most so many bits."""
    splits: SplitsConfig = SplitsConfig()
    """How splits are drawn where the source gives none."""
    working_size: int | None = None
    """Shorter side in pixels of the copies of larger images that training reads; null reads the originals, which
    calibration, tests and verification always do. Twice the models' own size is a good value."""

    def __post_init__(self) -> None:
        size = self.working_size
        require(size is None or size >= 32, "data.working_size", size, "32 or more, or null")
        require(
            0 <= self.near_duplicate_bits <= 8, "data.near_duplicate_bits", self.near_duplicate_bits, "between 0 and 8"
        )


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """The views of each training image that the teacher is run over and the student learns from."""

    count: int = 8
    """Views per image that the teacher is run over once, the whole image as it is among them; every epoch learns from
    one of them. With 1, a teacher in ``head`` mode is trained on whole images."""
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

    def drawing(self) -> dict[str, Json]:
        """The keys that a view is drawn from: all but how many views there are."""
        return {key: value for key, value in asdict(self).items() if key != "count"}
