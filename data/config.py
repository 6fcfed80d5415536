"""Config sections for labels, images, splits and views."""

import math
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import Literal

from run.config import checking
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
    """Cost of saying one label where another is true: a row per true label, a column per label said, zeros where
    both are the same. The expected cost is added to the loss, so that missing a severe label can weigh more than a
    false alarm; 1 weighs about as much as a nat of cross-entropy. Not for multilabel sets."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("names", lambda: len(self.names) >= 2, "two labels or more")
            composed = {unicodedata.normalize("NFC", name) for name in self.names}
            require("names", lambda: len(composed) == len(self.names), "free of repeats")
            tidy = "free of empty names and of spaces around names"
            require("names", lambda: all(name and name == name.strip() for name in self.names), tidy)
            costs = self.costs or []
            if self.costs is None:
                return
            require("costs", lambda: self.kind != "multilabel", "null where kind is multilabel")
            valid = "free of negative and infinite costs"
            require("costs", lambda: all(math.isfinite(cost) and cost >= 0 for row in costs for cost in row), valid)
            free = "0 where the label said is the true one"
            require("costs", lambda: not any(row[index] for index, row in enumerate(costs) if index < len(row)), free)
            size = len(self.names)
            square = f"{size} rows, one per true label, of {size} numbers, one per label said"
            require("costs", lambda: [len(row) for row in costs] == [size] * size, square)


@dataclass(frozen=True, kw_only=True)
class SplitsConfig:
    """Shares of the images that are held out; the rest is for training."""

    val: float = 0.1
    """Chooses the epoch to keep, fits temperatures, and chooses among INT8 files."""
    calibration: float = 0.1
    """Fits the thresholds of operating points; exported files are compared with PyTorch on it."""
    test: float = 0.2
    """Judged once, by ``verify``."""
    seed: int = 0
    """Draws the splits; separate from the run's seed, so that changing that one moves no image."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("val", lambda: 0 < self.val < 1, "between 0 and 1")
            require("calibration", lambda: 0 < self.calibration < 1, "between 0 and 1")
            require("test", lambda: 0 < self.test < 1, "between 0 and 1")
            left = "less: with val and calibration it has to be below 1, so that images are left for training"
            require("test", lambda: self.val + self.calibration + self.test < 1, left)


def how_to_enlarge(split: str) -> str:
    """Advice for a split with too few images; train gets those that the others leave."""
    return "lower the shares in data.splits" if split == "train" else f"raise data.splits.{split}"


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
    """A folder, a file, a URI (``s3://``, ``gs://``, ``https://``) or a Hub id (``org/name``, pinned
    as ``org/name@REVISION``); not used by ``elpv``."""
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
    """``votes``: the number of annotators who chose the label. ``probabilities``: they sum to 1, unless the set is
    multilabel. ``flags``: 1 where the label applies and 0 where not."""
    split_column: str | None = None
    """Column with train, val, calibration, test or unlabeled (tables, huggingface; keys beside the image in coco and
    label_studio); an empty cell, or null here, leaves the split to be drawn."""
    leave_out: list[str] = field(default_factory=list)
    """Names of splits, as the source calls them, that are left out; in format ``folder`` names of any folders."""
    unlabeled_splits: list[str] = field(default_factory=list)
    """Names of splits, as the source calls them, that are taken as unlabeled: a public test split often has no labels,
    or -1 in their place."""
    group_column: str | None = None
    """Column whose equal values stay in one split: a patient, a video, a session (tables, huggingface; keys beside the
    image in coco and label_studio)."""
    from_name: str | None = None
    """The control whose choices are the labels (label_studio); null where there is only one."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(SourceConfig):
    """Sources of labels and images, and how they are split."""

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
    """Shares of the splits, where the source gives none."""
    working_size: int | None = None
    """Shorter side in pixels of the copies of larger images that training reads; null reads the originals, which
    calibration, tests and verification always do. Twice the models' own size is a good value."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("near_duplicate_bits", lambda: 0 <= self.near_duplicate_bits <= 8, "between 0 and 8")
            require("working_size", lambda: self.working_size is None or self.working_size >= 32, "32 or more, or null")


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
        with checking(self) as require:
            require("count", lambda: self.count >= 1, "1 or more")
            ordered = "two positive numbers, the smaller first"
            scales = f"{ordered}, none above 1"
            require("crop_scale", lambda: 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1, scales)
            require("crop_ratio", lambda: 0 < self.crop_ratio[0] <= self.crop_ratio[1] < math.inf, ordered)
            require("brightness", lambda: 0 <= self.brightness < 1, "at least 0 and below 1")
            require("contrast", lambda: 0 <= self.contrast < 1, "at least 0 and below 1")
            require("saturation", lambda: 0 <= self.saturation < 1, "at least 0 and below 1")

    def drawing(self) -> dict[str, Json]:
        """The keys that a view is drawn from: all but how many views there are."""
        return {key: value for key, value in asdict(self).items() if key != "count"}
