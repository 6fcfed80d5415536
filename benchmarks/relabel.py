"""Correcting labels: what ``prepare`` and ``train`` take when many labels have changed, against the first time.

``python -m benchmarks.relabel [--changed 2000] [--model eva02_tiny_patch14_224 --size 112] [--views 4]``.
Needs the ``demo`` extra.

The photographs of the elpv-dataset package are listed in a CSV and prepared, and the head of a teacher with random
weights is trained on them; then labels are changed, and both verbs run again. Each verb is a process of its own, as a
user starts it: its seconds include Python's imports, which ``imports`` measures alone. Seconds of the clock, and those
of the processors, which mean more on a machine that does other work.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import common, material
from data.config import DataConfig
from data.readers.formats import elpv
from data.readers.source import Source

NAME = "relabel"


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "views", model="eva02_tiny_patch14_224", size=112, views=4)
    parser.add_argument("--changed", type=int, default=2000, help="labels")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    records = list(elpv.read(Source(DataConfig(format="elpv"), material.LABELS, Path())))
    rows = [(record.uri, int(np.argmax(record.target or ()))) for record in records]
    with common.scratch() as root:
        (root / "config.yaml").write_text(yaml.safe_dump(settings(given)), encoding="utf-8")
        imports = python(root, "-c", "import train.train")
        write_labels(root, rows)
        first = verbs(root)
        write_labels(root, changed(rows, given.changed))
        again = verbs(root)
        metrics = json.loads((root / "outputs" / NAME / "teacher" / "metrics.json").read_text(encoding="utf-8"))
    common.report(
        NAME,
        ratio=total(again) / total(first),
        against="the same two verbs the first time",
        machine=common.machine(),
        model=f"{given.model} at {given.size}, random weights",
        images=len(rows),
        changed_labels=given.changed,
        views=given.views,
        seconds={"imports": imports, "first": first, "again": again},
        teacher_passes_again=metrics["teacher_passes"],
    )


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """A run of the head alone; its student is never trained."""
    teacher = {"model": given.model, "pretrained": False, "image_size": given.size, "resize": "squash", "mode": "head"}
    return {
        "name": NAME,
        "labels": {"names": list(material.LABELS.names), "kind": material.LABELS.kind},
        "data": {
            "path": "labels.csv",
            "allow_outside": True,
            "splits": {"val": 0.1, "calibration": 0.1, "test": 0.2},
        },
        "teacher": teacher,
        "views": {"count": given.views},
        "students": [{"name": "none", "model": "mobilenetv4_conv_small", "pretrained": False}],
    }


def changed(rows: Sequence[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """The rows with the next label in so many of them."""
    chosen = set(np.random.default_rng(0).choice(len(rows), count, replace=False).tolist())
    return [(uri, (label + (row in chosen)) % len(material.LABELS)) for row, (uri, label) in enumerate(rows)]


def write_labels(root: Path, rows: Sequence[tuple[str, int]]) -> None:
    """``labels.csv``, as a user keeps it."""
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows((uri, material.LABELS.names[label]) for uri, label in rows)


Seconds = dict[str, float]
"""``clock`` and ``processor``."""


def total(verbs: Mapping[str, Seconds]) -> float:
    """Seconds of the clock of all verbs."""
    return sum(seconds["clock"] for seconds in verbs.values())


def verbs(root: Path) -> dict[str, Seconds]:
    """Those of ``prepare`` and ``train``."""
    seconds = {}
    for verb in ("prepare", "train"):
        seconds[verb] = python(root, "-m", "pocketeva", verb, "config.yaml")
        common.say(f"{verb}: {seconds[verb]}")
    return seconds


def python(root: Path, *arguments: str) -> Seconds:
    """Those of a process in ``root``, with the code of this tree."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = partial(subprocess.run, command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    clock = common.timed(run).seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"clock": round(clock, 1), "processor": round(processor, 1)}


if __name__ == "__main__":
    main()
