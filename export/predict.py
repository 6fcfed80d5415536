"""Predictions of a released model for files and folders."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from data.decode import SUFFIXES, DecodeError, decode
from export.release import find_onnx, open_onnx
from export.runtime import OnnxClassifier
from run.console import console, log
from run.errors import UserError, listed


def predict(release: Path, paths: Sequence[Path], *, as_json: bool) -> None:
    """Print label or labels, scores and time of every image: a table, or one JSON object per line.

    Args:
        release: a ``NAME-onnx`` folder, or an ONNX file.
        paths: image files, and folders to be walked.
        as_json: print lines for programs; an image that cannot be read has ``error`` instead of a label.

    Raises:
        UserError: the model or a path is not there, or images cannot be read (the others are printed first).
    """
    model = open_onnx(find_onnx(release))
    files = _images(paths)
    rows = (_predict_one(model, path) for path in files)
    failed = list(_print_json(rows) if as_json else _print_table(rows))
    if failed:
        raise UserError(f"{len(failed)} of {len(files)} images cannot be read:\n{listed(failed)}")


def _images(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(child for child in path.rglob("*") if child.suffix.lower() in SUFFIXES)
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} is neither a file nor a folder")
    if not files:
        raise UserError(f"no image files in {', '.join(map(str, paths))}")
    return files


def _predict_one(model: OnnxClassifier, path: Path) -> dict[str, Any]:
    """``path``, then what is decided, ``scores`` by label and ``ms`` from bytes to scores, or ``error``.

    What is decided is ``label``, a name, or for a multilabel set ``labels``, a list of names that may be empty.
    """
    started = time.perf_counter()
    try:
        image = decode(path.read_bytes())
    except (DecodeError, OSError) as error:
        return {"path": str(path), "error": str(error)}
    scores = model.probabilities([image])[0]
    elapsed = 1000 * (time.perf_counter() - started)
    names = model.labels.names
    decided = model.rule.decide(scores[None])[0]
    return {
        "path": str(path),
        **({"label": names[decided]} if model.rule.exclusive else {"labels": list(itertools.compress(names, decided))}),
        "scores": {name: round(float(score), 6) for name, score in zip(names, scores, strict=True)},
        "ms": round(elapsed, 2),
    }


def _print_json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Print each row; yield what could not be read."""
    for row in rows:
        console.out(json.dumps(row, ensure_ascii=False), highlight=False)
        if "error" in row:
            yield f"{row['path']}: {row['error']}"


def _print_table(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Print one table of all rows; yield what could not be read."""
    table = Table("image", "label", "scores", "ms", box=box.SIMPLE_HEAD)
    table.columns[0].overflow = "fold"
    with log.status("predicting"):
        for row in rows:
            if "error" in row:
                yield f"{row['path']}: {row['error']}"
            else:
                scores = ", ".join(f"{name} {score:.3f}" for name, score in row["scores"].items())
                decided = row["label"] if "label" in row else ", ".join(row["labels"]) or "none"
                table.add_row(row["path"], decided, scores, f"{row['ms']:.1f}")
    console.print(table)
