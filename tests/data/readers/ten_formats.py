"""The same labeled photographs in every format, below one folder."""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import elpv_rows


class Photo(NamedTuple):
    """One image, by its path below the root, and what is known of it."""

    path: str
    label: str
    split: str
    group: str


Written = dict[str, tuple[Path, dict[str, Any]]]
"""By format: what to read, and the settings to read it with."""


def photos(root: Path, labels: Iterable[str], count: int = 2) -> list[Photo]:
    """Real photographs in ``train|valid|test / label`` folders, ``count`` in each."""
    source = iter(path for path, _ in elpv_rows())
    found = []
    for split in ("train", "valid", "test"):
        for label in labels:
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                name = f"{split}/{label}/{number}.png"
                shutil.copyfile(next(source), root / name)
                found.append(Photo(name, label, split, f"g{number}"))
    return found


def write_all(root: Path, rows: list[Photo], names: list[str]) -> Written:
    """Write every format's label file beside the images."""
    plain: dict[str, Callable[[Path, list[Photo]], None]] = {
        "csv": lambda path, rows: _table(path, rows, ","),
        "tsv": lambda path, rows: _table(path, rows, "\t"),
        "jsonl": _jsonl,
        "parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(_dicts(rows)), path),
        "huggingface": _saved,
        "label_studio": _label_studio,
        "cvat": _cvat,
        "coco": lambda path, rows: _coco(path, rows, names),
    }
    endings = {"huggingface": "saved", "label_studio": "tasks.json", "cvat": "xml", "coco": "coco.json"}
    columns = {"split_column": "split", "group_column": "group"}
    written: Written = {"folder": (root, {})}
    for format_, write in plain.items():
        path = root.parent / f"labels.{endings.get(format_, format_)}"
        write(path, rows)
        settings: Mapping[str, Any] = {} if format_ == "cvat" else columns
        written[format_] = (path, {"image_root": str(root), **settings})
    for split in {row.split for row in rows}:
        part = [row for row in rows if row.split == split]
        lines = [", ".join(["filename", *reversed(names)])]
        lines += [", ".join([row.path, *(str(int(row.label == n)) for n in reversed(names))]) for row in part]
        (root / split / "_classes.csv").write_text("\n".join(lines))
    written["classes_csv"] = (root, {"image_root": str(root)})
    return written


def _dicts(rows: list[Photo]) -> list[dict[str, str]]:
    return [{"image": row.path, "label": row.label, "split": row.split, "group": row.group} for row in rows]


def _table(path: Path, rows: list[Photo], separator: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "split", "group"], delimiter=separator)
        writer.writeheader()
        writer.writerows(_dicts(rows))


def _jsonl(path: Path, rows: list[Photo]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in _dicts(rows)))


def _saved(path: Path, rows: list[Photo]) -> None:
    feature = datasets.ClassLabel(names=sorted({row.label for row in rows}))
    dataset = datasets.Dataset.from_list(_dicts(rows)).cast_column("label", feature)
    dataset.save_to_disk(path)


def _label_studio(path: Path, rows: list[Photo]) -> None:
    tasks = []
    for number, row in enumerate(rows):
        result = {"from_name": "grade", "to_name": "i", "type": "choices", "value": {"choices": [row.label]}}
        annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "ground_truth": True, "result": [result]}
        data = {"image": f"/data/local-files/?d={row.path}", "split": row.split, "group": row.group}
        tasks.append({"id": number, "data": data, "annotations": [annotation], "predictions": []})
    path.write_text(json.dumps(tasks))


def _cvat(path: Path, rows: list[Photo]) -> None:
    images = [
        f"<image id='{number}' name={quoteattr(row.path)} width='300' height='300'>"
        f"<tag label={quoteattr(row.label)} source='manual'></tag></image>"
        for number, row in enumerate(rows)
    ]
    path.write_text(f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


def _coco(path: Path, rows: list[Photo], names: list[str]) -> None:
    numbers = {name: 17 - 3 * index for index, name in enumerate(names)}
    images = [{"id": n, "file_name": r.path, "split": r.split, "group": r.group} for n, r in enumerate(rows)]
    annotations = [{"id": n, "image_id": n, "category_id": numbers[row.label]} for n, row in enumerate(rows)]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
