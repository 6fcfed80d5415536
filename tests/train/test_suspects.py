from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.config import ViewsConfig
from data.doubts import read_suspects_file
from data.labels import LabelSet
from data.manifest import Manifest
from run.errors import UserError
from run.folder import RunFolder
from tests import support
from tests.support import rows_of
from train.suspects import find_suspects, write_suspects

THREE = LabelSet(("a", "b", "c"), "nominal")
MANY = LabelSet(("a", "b"), "multilabel")


def separable(labels: LabelSet, count: int = 150, seed: int = 0) -> tuple[np.ndarray[Any, Any], list[dict[str, Any]]]:
    """Features that tell the label well, and rows labeled in turn."""
    rows = rows_of([Path(f"/images/{number:03}.png") for number in range(count)], labels)
    generator = np.random.default_rng(seed)
    features = np.array([row["target"] for row in rows]) * 8 + generator.normal(size=(count, len(labels)))
    return features.astype(np.float64), rows


def rows_found(features: Any, manifest: Manifest, groups: Any) -> list[tuple[Any, ...]]:
    return [astuple(suspect) for suspect in find_suspects(features, manifest, groups)]


def test_find_suspects__planted_errors_and_nothing_else() -> None:
    features, rows = separable(THREE)
    planted = {41: 0, 20: 0, 50: 0, 7: 2, 100: 2, 130: 2}
    truth = {row: rows[row]["target"].index(1.0) for row in planted}
    for row, wrong in planted.items():
        rows[row]["target"] = [float(index == wrong) for index in range(3)]
    found = rows_found(features, Manifest.of(THREE, rows), np.arange(150))
    assert len(found) >= 4, "those whose features say most clearly that the label is wrong"
    assert [row[4] for row in found] == sorted(row[4] for row in found)
    for uri, split, given, suggested, p, best in found:
        row = int(Path(uri).stem)
        assert (split, given, suggested) == ("train", THREE.names[planted[row]], THREE.names[truth[row]])
        assert p < 0.2 < 0.8 < best


def test_find_suspects__multilabel_judges_each_label() -> None:
    features, rows = separable(MANY)
    rows[4]["target"] = [1.0, 1.0]  # its features say a alone
    rows[9]["target"] = [0.0, 0.0]  # its features say b
    found = rows_found(features, Manifest.of(MANY, rows), np.arange(150))
    named = {(Path(row[0]).stem, row[2], row[3]) for row in found[:4]}
    assert {("004", "b", "not b"), ("009", "not b", "b")} <= named


def test_find_suspects__duplicates_do_not_vouch_for_one_another() -> None:
    """A wrong label on forty copies of one picture: a fold that saw some of them would believe it of the others."""
    features, rows = separable(THREE, 300)
    copies = [row for row in range(300) if row % 3 == 1][:40]
    for row in copies:
        rows[row]["target"] = [1.0, 0.0, 0.0]
        features[row] = features[copies[0]]
    manifest, groups = Manifest.of(THREE, rows), np.arange(300)
    believed = {row[0] for row in rows_found(features, manifest, groups)}
    groups[copies] = copies[0]
    found = {row[0] for row in rows_found(features, manifest, groups)}
    wrong = {f"/images/{row:03}.png" for row in copies}
    assert not wrong & believed
    assert wrong <= found


def test_find_suspects__a_label_in_one_group_only() -> None:
    features, rows = separable(THREE, 30)
    groups = np.arange(30)
    groups[[row for row in range(30) if row % 3 == 2]] = 2
    with pytest.raises(UserError, match="c has images in 1 groups"):
        find_suspects(features, Manifest.of(THREE, rows), groups)


def test_write_suspects__reviews_every_labeled_image(
    elpv_run: tuple[RunFolder, Manifest], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = support.copied(elpv_run[0], tmp_path / "run")
    manifest = elpv_run[1]
    path = write_suspects(support.context(run), manifest, support.tiny(labels=support.FOUR), ViewsConfig())
    rows = [astuple(suspect) for suspect in read_suspects_file(path)]
    assert rows
    split_of = dict(zip(manifest.column("uri"), manifest.column("split"), strict=True))
    assert all(split_of[row[0]] == row[1] and row[2] != row[3] for row in rows)
    assert [row[4] for row in rows] == sorted(row[4] for row in rows)
    assert "of 64 labels are suspect" in capsys.readouterr().err
