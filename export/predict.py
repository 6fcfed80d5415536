"""Predictions of a released model for files and folders."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from data.decode import DecodeError, decode
from data.storage import read_bytes, shown
from data.walk import Walk
from export.limits import MOST_SECONDS, bounded_memory
from export.release import find_onnx, open_onnx
from export.runtime import OnnxClassifier
from run.console import console, log
from run.errors import UserError, listed, plural


def predict(release: Path, paths: Sequence[Path], *, as_json: bool) -> None:
    """Print label or labels, scores and time of every image: a table, or one JSON object per line.

    Args:
        release: a ``NAME-onnx`` folder, or an ONNX file.
        paths: image files, and folders to be walked.
        as_json: print lines for programs; an image that cannot be read has ``error`` instead of a label.

    Raises:
        UserError: the model or a path is not there, or images cannot be read (the others are printed first).
    """
    onnx = find_onnx(release)
    files = _images(paths)
    with bounded_memory(onnx):
        model = open_onnx(onnx, seconds=MOST_SECONDS)
        rows = (_predict_one(model, path) for path in files)
        failed = list(_print_json(rows) if as_json else _print_table(rows))
    if failed:
        raise UserError(f"{len(failed)} of {plural(len(files), 'image')} cannot be read:\n{listed(failed)}")


def _images(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and the pictures in folders, by path; what is passed over there is said."""
    files: list[Path] = []
    walk = Walk()
    for path in paths:
        if path.is_dir():
            files += sorted(Path(picture.uri) for picture in walk.pictures(str(path)))
        elif path.exists():
            files.append(path)  # whether it can be read is said with the others
        else:
            raise UserError(f"{shown(str(path))} is neither a file nor a folder")
    for line in walk.lines():
        log.print(line, soft_wrap=True)
    if not files:
        raise UserError(f"no image files in {', '.join(shown(str(path)) for path in paths)}")
    return files


def _predict_one(model: OnnxClassifier, path: Path) -> dict[str, Any]:
    """``path``, then what is decided, ``scores`` by label and ``ms`` from bytes to scores, or ``error``.

    What is decided is ``label``, a name, or for a multilabel set ``labels``, a list of names that may be empty.
    """
    started = time.perf_counter()
    try:
        image = decode(read_bytes(str(path)))
    except (DecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return {"path": shown(str(path)), "error": str(reason)}
    scores = model.probabilities([image])[0]
    elapsed = 1000 * (time.perf_counter() - started)
    names = model.labels.names
    decided = model.rule.decide(scores[None])[0]
    return {
        "path": shown(str(path)),
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
