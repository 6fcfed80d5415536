from typing import Any

import numpy as np

from data.manifest import Manifest
from models.decision import DecisionRule
from tests.support import FOUR
from tests.verify.claims import STUDENT
from tests.verify.test_predictions import KEY, manifest_of
from verify.config import VerifyConfig
from verify.criteria import Answers, FileClaims
from verify.predictions import JudgedFile, Predictions
from verify.slices import MOST_PARTS, slices_of

COUNT = 90


def predictions(near: list[bool] | None = None, **columns: list[Any]) -> Predictions:
    """Images with these columns of the manifest; the file ``mini`` and its teacher differ on every tenth."""
    rows = manifest_of(COUNT).table.to_pylist()
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    said = np.eye(4, dtype=np.float32)[np.arange(COUNT) % 4]
    moved = np.where((np.arange(COUNT) % 10 == 0)[:, None], np.roll(said, 1, 1), said)
    rule = DecisionRule.of(FOUR)
    files = {name: JudgedFile(name, 1, rule) for name in ("teacher", "mini")}
    logits = {"teacher": said, "mini": moved}
    brightness = np.arange(COUNT, dtype=np.float32)
    return Predictions.of(
        Manifest.of(FOUR, rows),
        KEY,
        files,
        logits,
        brightness=brightness,
        near_training=np.array(near or [False] * COUNT),
    )


def sizes(found: Predictions, beginning: str) -> dict[str, int]:
    return {part.name: int(part.images.sum()) for part in slices_of(found) if part.name.startswith(beginning)}


def test_slices_of__declared_columns() -> None:
    device = [[("device", "phone")]] * 50 + [[("device", "scanner")]] * 30 + [None] * 10
    found = predictions(metadata=device)
    assert sizes(found, "device") == {"device: phone": 50, "device: scanner": 30, "device: not given": 10}
    named = {part.name: part for part in slices_of(found)}
    assert named["device: scanner"].declared
    assert [named[f"device: {name}"].judged for name in ("phone", "scanner", "not given")] == [True, True, False]


def test_slices_of__automatic_ones() -> None:
    found = predictions(
        near=[number < 20 for number in range(COUNT)],
        width=[100 + number for number in range(COUNT)],
        height=[100] * 60 + [400] * 30,
    )
    assert sizes(found, "shorter side") == {"shorter side: 100 to 100 px": 60, "shorter side: 160 to 189 px": 30}
    assert sizes(found, "shape") == {"shape: about square": 25, "shape: wide": 35, "shape: tall": 30}
    assert list(sizes(found, "brightness").values()) == [30, 30, 30]
    assert sizes(found, "near-duplicate") == {
        "near-duplicate in training: no": 70,
        "near-duplicate in training: yes": 20,
    }
    assert not any(part.declared for part in slices_of(found))


def test_slices_of__what_divides_nothing_and_what_divides_all() -> None:
    found = predictions(metadata=[[("page", str(number)), ("source", "web")] for number in range(COUNT)])
    assert sizes(found, "source") == {}
    pages = sizes(found, "page")
    assert len(pages) == MOST_PARTS + 1
    assert pages[f"page: {COUNT - MOST_PARTS} others"] == COUNT - MOST_PARTS
    empty = found.take(np.array([], int))
    assert slices_of(empty) == ()


def test_file_claims__slices_share_the_risk_and_small_ones_are_left_out() -> None:
    device = [[("device", "phone")]] * 50 + [[("device", "scanner")]] * 30 + [None] * 10
    answers = Answers.of(predictions(metadata=device, width=[200] * COUNT, height=[200] * COUNT))
    claims = [
        one for one in FileClaims(answers, STUDENT, "mini", "teacher", VerifyConfig(), 0.95) if one.name == "slice"
    ]
    assert [(one.about, one.tier) for one in claims] == [
        ("device: phone", "may not fail"),
        ("device: scanner", "may not fail"),
        *((f"brightness: {30 * third} to {30 * third + 29} of 255", "reported") for third in range(3)),
    ]
    assert {one.shared_by for one in claims} == {5}
    assert vars(claims[0].evidence) == {"kind": "share", "n": 50, "count": 45}


def test_predictions__metadata_is_read_back(tmp_path: Any) -> None:
    found = predictions(metadata=[[("device", "phone"), ("source", "web")]] * COUNT)
    found.write(tmp_path / "p.parquet")
    assert Predictions.read(tmp_path / "p.parquet").column("metadata")[0] == [("device", "phone"), ("source", "web")]
