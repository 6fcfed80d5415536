import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import logit

from data.labels import LabelSet
from data.manifest import Manifest
from models.decision import DecisionRule
from run.errors import UserError
from run.folder import RunFolder
from tests import support
from tests.support import FOUR
from verify.measure import MEASURED
from verify.predictions import JudgedFile, Predictions, make_key

KEY = b"a key of the tests"
SETS = LabelSet(("dog", "cat"), "multilabel")


def manifest_of(count: int, labels: LabelSet = FOUR, groups: str | None = None) -> Manifest:
    rows = support.rows_of([Path(f"image{number:03}.png") for number in range(count)], labels, "test")
    for row, group in zip(rows, groups or [row["group"] for row in rows], strict=True):
        row["group"] = group
    return Manifest.of(labels, rows)


def predictions_of(test: Manifest, **logits: list[list[float]]) -> Predictions:
    rule = DecisionRule.of(test.labels)
    files = {name: JudgedFile(name * 3, 1000 + len(name), rule) for name in logits}
    found = {name: np.array(rows, np.float32) for name, rows in logits.items()}
    return Predictions.of(test, KEY, files, found)


def test_predictions__read_what_was_written(tmp_path: Path) -> None:
    test = manifest_of(3)
    rows = np.random.default_rng(0).random((3, 4), np.float32)
    written = predictions_of(test, fast=rows.tolist(), slow=rows[::-1].tolist())
    written.write(tmp_path / "predictions.parquet")
    read = Predictions.read(tmp_path / "predictions.parquet")
    assert (read.labels, read.files, len(read)) == (FOUR, written.files, 3)
    assert np.array_equal(read.logits("fast"), rows)
    assert np.array_equal(read.logits("slow"), rows[::-1])
    assert np.array_equal(read.probabilities("fast"), DecisionRule.of(FOUR).probabilities(rows))
    assert np.array_equal(read.targets, test.targets())
    assert read.truth().tolist() == test.targets().argmax(1).tolist()
    assert read.table.column("split").to_pylist() == ["test"] * 3


def test_predictions__equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        predictions_of(manifest_of(2), fast=[[0, 0, 0, 1], [1, 0, 0, 0]]).write(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_predictions__thresholds_of_a_file_are_not_those_of_the_truth(tmp_path: Path) -> None:
    logits = logit([[0.2, 0.2], [0.4, 0.4]]).tolist()
    found = predictions_of(manifest_of(2, SETS), own=logits)
    strict = replace(found.files["own"], rule=DecisionRule(SETS, (0.3, 0.1)))
    replace(found, files={"own": strict}).write(tmp_path / "predictions.parquet")
    read = Predictions.read(tmp_path / "predictions.parquet")
    assert read.decisions("own").tolist() == [[False, True], [True, True]]
    assert read.truth().tolist() == [[True, False], [False, True]]


def test_predictions__no_image_can_be_recognized(finished_run: RunFolder) -> None:
    path = finished_run.verify / "predictions.parquet"
    test = Manifest.read(finished_run.manifest, FOUR).labeled_rows("calibration", "test")
    content = path.read_bytes()
    for column in ("image_id", "group", "uri"):
        assert not any(str(value).encode() in content for value in test.column(column))
    read = Predictions.read(path)
    assert len(set(read.table.column("image").to_pylist())) == len(test)
    assert len(set(read.column("group"))) == len(set(test.column("group")))
    other = Predictions.of(test, b"another key", {}, {})
    assert not set(other.column("group")) & set(read.column("group"))


def test_predictions__another_schema_version(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"image": ["a"]}), path)
    with pytest.raises(UserError, match=r"has schema version 1, and this version of PocketEVA reads 2.*verify` again"):
        Predictions.read(path)


def test_predictions__one_per_group_and_per_cluster() -> None:
    rows = manifest_of(6, groups="abacbd")
    near = [7, None, 8, None, 8, 7]  # a joins 7 and 8, and 8 joins b
    rows = replace(rows, table=rows.table.set_column(rows.table.column_names.index("near"), "near", [near]))
    found = predictions_of(rows, fast=[[number, 0, 0, 0] for number in range(6)])
    assert found.one_per_group().logits("fast")[:, 0].tolist() == [0, 1, 3, 5]
    assert found.one_per_cluster().logits("fast")[:, 0].tolist() == [0, 3]


def test_predictions__a_cluster_lies_in_one_split() -> None:
    rows = [
        {**row, "split": split, "group": "a", "near": 3}
        for split in MEASURED
        for row in manifest_of(2).table.to_pylist()
    ]
    assert predictions_of(Manifest.of(FOUR, rows)).one_per_cluster().column("split") == list(MEASURED)


def test_predictions__votes_that_tie_have_no_truth() -> None:
    rows = manifest_of(4).table.to_pylist()
    for row, target in zip(rows, [(0, 0.5, 0.5, 0), (0.25, 0.75, 0, 0), (0.25,) * 4, (0, 0, 0, 1)], strict=True):
        row["target"] = target
    told = predictions_of(Manifest.of(FOUR, rows), fast=[[number, 0, 0, 0] for number in range(4)]).with_truth()
    assert told.logits("fast")[:, 0].tolist() == [1, 3]
    assert told.truth().tolist() == [1, 3]


def test_make_key__drawn_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "verify" / "key"
    key = make_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make_key(path) == key
    assert make_key(tmp_path / "other") != key


@pytest.mark.parametrize("name", ["key", "predictions.parquet", "latency.json"])
def test_predictions__stay_in_the_run(finished_run: RunFolder, name: str) -> None:
    assert (finished_run.verify / name).is_file()
    assert not list(finished_run.release.rglob(name))
