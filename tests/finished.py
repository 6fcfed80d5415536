"""Small runs through the command line: the config, the images, and a finished one to copy."""

import contextlib
import csv
import shutil
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

import pocketeva
from data.labels import LabelSet
from tests import support

SPLIT_SIZES = {"train": 15, "val": 4, "calibration": 4, "test": 7}
"""Images of each label in each split."""

DUPLICATES = 1
"""Test images whose pixels another test image has too."""

INT8: dict[str, Any] = {"mode": "quick", "max_flip_rate": 0.9, "min_speedup": 0.01}
"""So lenient that whether an INT8 file is shipped does not hang on how busy the machine is."""

FP32_ALONE: dict[str, Any] = {"fp16": False, "int8": {"mode": "none"}}
"""An export without smaller files, for runs that are about something else."""

MULTILABEL = LabelSet(("suspect", "broken", "heavy"), "multilabel")

SETS = {"sound": (), "doubtful": ("suspect",), "likely": ("suspect", "heavy"), "broken": ("suspect", "broken", "heavy")}
"""The photographs' four classes in the words of the multilabel set; sound ones have no label at all."""


COLORS = {"sound": "red", "doubtful": "lime", "likely": "blue", "broken": "white"}
"""Laid over each label's photographs, because so few images teach the smallest models nothing else. Of those for
calibration and test one in eight has another label's: where all were right, no temperature would fit best."""


def write_images(root: Path, sizes: dict[str, int] = SPLIT_SIZES, labels: int = 4, *, colored: bool = True) -> None:
    """``images.csv`` and colored photographs shrunk to 64 pixels; the last row is a test image encoded anew."""
    by_class: list[list[Path]] = [
        [path for path, index in support.elpv_rows() if index == wanted] for wanted in range(labels)
    ]
    rows: list[dict[str, str]] = []
    (root / "images").mkdir(parents=True)
    for name, paths in zip(support.FOUR.names, by_class, strict=False):
        splits = [split for split, count in sizes.items() for _ in range(count)]
        for path, split in zip(paths, splits, strict=False):
            with Image.open(path) as image:
                small = image.resize((64, 64)).convert("RGB")
            misled = split in ("calibration", "test") and len(rows) % 8 == 7
            color = list(COLORS.values())[(list(COLORS).index(name) + misled) % len(COLORS)]
            overlay = Image.new("RGB", small.size, color)
            Image.blend(small, overlay, 0.5 if colored else 0).save(root / "images" / path.name)
            rows.append({"image": f"images/{path.name}", "label": name, "split": split})
    last = rows[-1]
    with Image.open(root / last["image"]) as image:
        image.save(root / "images" / "again.png", compress_level=0)
    rows.append({**last, "image": "images/again.png"})
    write_rows(root / "images.csv", rows)


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """A CSV file of these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def settings(name: str = "quick") -> dict[str, Any]:
    """A config over ``images.csv`` of the current folder, with the smallest models that timm has."""
    fit = {"epochs": 12, "batch_size": 15, "lr": 3e-3, "ema_decay": 0.8}
    return {
        "name": name,
        "labels": {"names": list(support.FOUR.names), "kind": "ordinal"},
        "data": {"format": "csv", "path": "images.csv", "split_column": "split"},
        "teacher": {
            "model": "test_vit",
            "pretrained": False,
            "image_size": 32,
            "mode": "head",
        },
        "views": {"count": 2},
        "students": [{"name": "mini", "model": "test_efficientnet", "pretrained": False, "image_size": 64, "fit": fit}],
        "export": {"int8": INT8},
        "verify": {"agreement": 0.01, "conversion": 0.99},
        "trainer": {"accelerator": "cpu", "devices": 1, "precision": "32-true", "num_workers": 0},
    }


def write_config(root: Path, config: dict[str, Any]) -> Path:
    """``config.yaml`` in ``root``."""
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def finish(root: Path, config: dict[str, Any]) -> Path:
    """Write images and config and run to the end; the folder ``outputs/NAME`` inside ``root``."""
    write_images(root)
    return run_to_the_end(root, config)


def run_to_the_end(root: Path, config: dict[str, Any]) -> Path:
    """Run a config over the images that are there; the folder ``outputs/NAME`` inside ``root``."""
    write_config(root, config)
    with contextlib.chdir(root):
        assert pocketeva.main(["run", "config.yaml"]) == pocketeva.DONE
    return root / "outputs" / str(config["name"])


def finish_multilabel(root: Path) -> Path:
    """Run the same photographs with the labels of ``SETS`` to the end; the folder ``outputs/NAME`` inside ``root``."""
    write_images(root)
    rows = [
        {
            "image": row["image"],
            **{name: str(int(name in SETS[row["label"]])) for name in MULTILABEL.names},
            "split": row["split"],
        }
        for row in read_rows(root / "images.csv")
    ]
    write_rows(root / "images.csv", rows)
    config = settings("sets")
    config["labels"] = {"names": list(MULTILABEL.names), "kind": "multilabel"}
    config["data"] |= {"label_columns": list(MULTILABEL.names), "label_columns_hold": "flags"}
    config["teacher"] |= {"class_weighting": "sqrt"}
    # Eight epochs at twice the rate depended on the processor: on some the student was wrong on a third of the images.
    config["students"][0]["fit"] |= {"epochs": 16, "lr": 0.005}
    return run_to_the_end(root, config)


def copied(root: Path, to: Path) -> Path:
    """A copy of a run's whole working folder, times included, so that what is done there is done here.

    The images lie elsewhere now, which the manifest has to say; nothing else depends on that.
    """
    shutil.copytree(root, to)
    with contextlib.chdir(to):
        assert pocketeva.main(["prepare", "config.yaml"]) == pocketeva.DONE
    return to
