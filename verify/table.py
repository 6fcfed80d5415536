"""``verify/predictions.csv``: what every file said of every image, with its path. It stays on this machine.

The table that is published knows images only by keyed digests (``verify.predictions``); this one is for whoever looks
into errors.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from data.labels import LabelSet
from data.manifest import Manifest
from models.decision import DecisionRule, Decisions
from run.files import write_csv
from verify.predictions import Predictions, keyed

TABLE = "predictions.csv"


def write_table(path: Path, predictions: Predictions, manifest: Manifest, key: bytes) -> None:
    """Write a row for each image: path, split, truth, and each file's label and scores; ``key`` is of their digests."""
    names = [f"{file}: {name}" for file in predictions.files for name in ("label", *predictions.labels.names)]
    rows = _rows(predictions, paths_of(predictions, manifest, key))
    write_csv(path, chain([("path", "split", "truth", *names)], rows))


def paths_of(predictions: Predictions, manifest: Manifest, key: bytes) -> list[str]:
    """The path or URI of each image [N]; empty where the manifest no longer has it."""
    ids = manifest.column("image_id")
    uris = manifest.column("uri")
    by_digest = {keyed(key, image): uri for image, uri in zip(reversed(ids), reversed(uris), strict=True) if image}
    return [by_digest.get(image, "") for image in predictions.column("image")]


def named(decisions: Decisions, labels: LabelSet) -> list[str]:
    """Decisions in words [N]: the label, or those of a multilabel set that apply."""
    rule = DecisionRule.of(labels)
    return [", ".join(rule.names(decision)) for decision in decisions]


def truths(predictions: Predictions) -> list[str]:
    """The true labels in words [N]; where votes tie, empty."""
    words = [""] * len(predictions)
    rows = np.flatnonzero(predictions.labels.has_truth(predictions.targets))
    for row, word in zip(rows, named(predictions.take(rows).truth(), predictions.labels), strict=True):
        words[row] = word
    return words


def _rows(predictions: Predictions, paths: list[str]) -> Iterator[tuple[object, ...]]:
    said = [named(predictions.decisions(file), predictions.labels) for file in predictions.files]
    scores = [predictions.probabilities(file) for file in predictions.files]
    known = zip(paths, predictions.column("split"), truths(predictions), strict=True)
    for row, first in enumerate(known):
        # Six digits: more than float32 softmax is sure of between runtimes.
        files = (
            (words[row], *(round(float(p), 6) for p in found[row])) for words, found in zip(said, scores, strict=True)
        )
        yield *first, *(cell for cells in files for cell in cells)
