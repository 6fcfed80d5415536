"""Labels that are likely wrong, for people to review."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cache.frozen import FrozenModel
from data.config import ViewsConfig
from data.doubts import SUSPECTS, Suspect, write_suspects_file
from data.examples import Examples
from data.manifest import Manifest
from models.classifier import Classifier
from run.console import log
from run.context import RunContext
from run.errors import UserError, quoted

FOLDS = 5


def write_suspects(context: RunContext, manifest: Manifest, teacher: Classifier, views: ViewsConfig) -> Path:
    """Write ``data/suspects.csv``, the most doubtful label first.

    The teacher has seen the labels of its training images, so its own answers would excuse them. A logistic regression
    on the teacher's features judges every image instead, fitted on folds that hold neither the image nor any other of
    its group; confident learning then says which labels are likely wrong (Northcutt, Jiang and Chuang 2021,
    arXiv 1911.00068, as in cleanlab).
    """
    part = manifest.usable("train", "val", "calibration", "test")
    # Images whose votes tie have no label that could be wrong.
    told = part.labeled() & part.labels.has_truth(part.targets())
    part = Manifest(part.labels, part.table.filter(pa.array(told)))
    examples = Examples.make_working_copies(part, views, context)
    features = FrozenModel(teacher, "features", context).compute_outputs(examples, 1)
    groups = np.unique(part.column("group"), return_inverse=True)[1]
    rows = find_suspects(features[:, 0].astype(np.float64), part, groups)
    path = context.folder.data / SUSPECTS
    write_suspects_file(path, rows)
    test = sum(row.split == "test" for row in rows)
    log.print(f"{len(rows):,} of {len(part):,} labels are suspect: {quoted(path)}", soft_wrap=True)
    if test:
        log.print(
            f"{test:,} of them are in the test split: correcting only what a model doubts makes the test easier, so "
            "review as many test images that are not suspect"
        )
    return path


def find_suspects(features: NDArray[np.float64], part: Manifest, groups: NDArray[np.integer]) -> list[Suspect]:
    """Suspects, the least probable given label first. In a multilabel set each label is judged by itself.

    Args:
        features: [N, D].
        part: the N rows, each with one true label, or one true set of labels.
        groups: a number per row [N] that duplicates share.

    Raises:
        UserError: a label has images in too few groups to be judged.
    """
    names = part.labels.names
    decided = part.labels.truth(part.targets()).astype(np.intp)
    if not part.labels.exclusive:
        doubts = [
            doubt
            for index, name in enumerate(names)
            for doubt in _doubts(features, decided[:, index], groups, (f"not {name}", name))
        ]
    else:
        doubts = list(_doubts(features, decided, groups, names))
    uris = part.table.column("uri")
    splits = part.table.column("split")
    return [
        Suspect(uris[row].as_py(), splits[row].as_py(), given, suggested, p, best)
        for row, given, suggested, p, best in sorted(doubts, key=lambda doubt: (doubt[3], doubt[0], doubt[1]))
    ]


def _doubts(
    features: NDArray[np.float64], labels: NDArray[np.integer], groups: NDArray[np.integer], names: Sequence[str]
) -> Iterator[tuple[int, str, str, float, float]]:
    """Row, given name, suggested name, and the probabilities of both."""
    probabilities = _out_of_fold(features, labels, groups, names)
    suspect = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1) & (
        probabilities.argmax(1) != labels
    )
    for row in np.flatnonzero(suspect).tolist():
        given = int(labels[row])
        suggested = int(probabilities[row].argmax())
        p, best = (round(float(probabilities[row, index]), 4) for index in (given, suggested))
        yield row, names[given], names[suggested], p, best


def _out_of_fold(
    features: NDArray[np.float64], labels: NDArray[np.integer], groups: NDArray[np.integer], names: Sequence[str]
) -> NDArray[np.float64]:
    """Probabilities [N, names], each from a fit that saw nothing of the row's group."""
    of_label = [len(np.unique(groups[labels == index])) for index in range(len(names))]
    if min(of_label) < 2:
        raise UserError(
            f"suspects: {names[int(np.argmin(of_label))]} has images in {min(of_label)} groups; every label needs two "
            "groups or more, one to learn from and one to judge"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.1))
    folding = StratifiedGroupKFold(min(FOLDS, *of_label), shuffle=True, random_state=0)
    result: NDArray[np.float64] = cross_val_predict(
        model, features, labels, groups=groups, cv=folding, method="predict_proba"
    )
    return result
