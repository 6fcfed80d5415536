from pathlib import Path

import pytest

from data.labels import LabelSet
from data.manifest import Manifest
from run.folder import RunFolder
from tests import support
from tests.finished import read_rows
from tests.support import FOUR
from tests.verify.test_predictions import KEY, SETS, manifest_of, predictions_of
from verify.predictions import PREDICTIONS, Predictions
from verify.table import TABLE, paths_of, truths, write_table


def test_write_table__of_a_finished_run(finished_run: RunFolder) -> None:
    rows = read_rows(finished_run.verify / TABLE)
    predictions = Predictions.read(finished_run.verify / PREDICTIONS)
    manifest = Manifest.read(finished_run.manifest, FOUR)
    assert len(rows) == len(predictions)
    label_of = {row["uri"]: FOUR.names[row["target"].index(1.0)] for row in manifest.table.to_pylist()}
    split_of = dict(zip(manifest.column("uri"), manifest.column("split"), strict=True))
    for file in predictions.files:
        said = [FOUR.names[index] for index in predictions.decisions(file)]
        assert [row[f"{file}: label"] for row in rows] == said
    for row in rows:
        assert Path(row["path"]).is_file()
        assert (row["truth"], row["split"]) == (label_of[row["path"]], split_of[row["path"]])
        scores = [float(row[f"mini-onnx/onnx/model.onnx: {name}"]) for name in FOUR.names]
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert FOUR.names[scores.index(max(scores))] == row["mini-onnx/onnx/model.onnx: label"]
    assert not list(finished_run.release.rglob("*.csv")), "it names files of this machine"


def test_write_table__cells_that_begin_a_formula(tmp_path: Path) -> None:
    labels = LabelSet(("=1+1", "@b"), "nominal")
    rows = support.rows_of([Path("-x.png")], labels, "test")
    predictions = predictions_of(Manifest.of(labels, rows), own=[[2.0, 0.0]])
    write_table(tmp_path / "t.csv", predictions, Manifest.of(labels, rows), KEY)
    (row,) = read_rows(tmp_path / "t.csv")
    assert (row["path"], row["truth"], row["own: label"]) == ("'-x.png", "'=1+1", "'=1+1")
    assert float(row["own: @b"]) < 0.5


def test_truths__several_none_and_ties() -> None:
    rows = support.rows_of([Path(f"{number}.png") for number in range(3)], SETS, "test")
    for row, target in zip(rows, ([1.0, 1.0], [0.0, 0.0], [0.5, 0.0]), strict=True):
        row["target"] = target
    assert truths(predictions_of(Manifest.of(SETS, rows))) == ["dog, cat", "", ""]


def test_paths_of__an_image_that_is_gone() -> None:
    test = manifest_of(3)
    predictions = predictions_of(test)
    assert paths_of(predictions, test, KEY) == [f"image{number:03}.png" for number in range(3)]
    less = Manifest(test.labels, test.table.slice(1))
    assert paths_of(predictions, less, KEY) == ["", "image001.png", "image002.png"]
