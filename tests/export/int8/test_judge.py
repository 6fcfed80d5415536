from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.decode import decode
from export.int8 import judge as judge_module
from export.int8.config import Int8Config
from export.int8.judge import CalibrationImages, Judge
from export.int8.result import Candidate, Row
from tests import support
from tests.export.conftest import Exported

N = 16
"""Photographs; half of them are judged."""

CANDIDATE = Candidate("MinMax", per_channel=True, activation="QUInt8")


def judge_of(exported: Exported, config: Int8Config) -> Judge:
    """A judge over photographs without labels: no temperature is fitted."""
    classifier, path = exported
    images = [decode(path.read_bytes()) for path, _ in support.elpv_rows()[:N]]
    pixels = classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in images]))
    unlabeled = CalibrationImages(pixels, np.zeros((N, 4), np.float32), np.zeros(N, np.bool_))
    return Judge(path, unlabeled, config)


class Timed:
    """Stands in for a race: each file takes the milliseconds it is said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ms: dict[Path, float]) -> None:
        self.ms = ms
        monkeypatch.setattr(judge_module, "one_inference", lambda path, _: path)
        monkeypatch.setattr(judge_module, "race", self.race)

    def race(self, paths: Sequence[Path]) -> list[float]:
        return [self.ms[path] for path in paths]


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """The same model at another place: it changes no decision."""
    path = tmp_path / "copy.onnx"
    path.write_bytes(exported[1].read_bytes())
    return path


@pytest.mark.parametrize(
    ("fp32_ms", "ms", "passes"),
    [(2.0, 1.0, True), (1.0, 2.0, False), (3.0, 2.0, False), (3.01, 2.0, True)],
    ids=["faster", "slower", "exactly at the limit", "just above"],
)
def test_measure__faster_than_fp32_by_min_speedup(
    exported: Exported, copy: Path, monkeypatch: pytest.MonkeyPatch, fp32_ms: float, ms: float, passes: bool
) -> None:
    Timed(monkeypatch, {exported[1]: fp32_ms, copy: ms})
    row = judge_of(exported, Int8Config(min_speedup=1.5)).measure(copy, CANDIDATE)
    assert isinstance(row, Row)
    assert (row.fp32_ms, row.ms) == (fp32_ms, ms)
    slow = f"{ms:.2f} ms an image against {fp32_ms:.2f} ms in fp32: not fast enough"
    assert row.why_not == (None if passes else slow)


@pytest.mark.parametrize("flips", [0, 2, 3, 8])
def test_measure__as_many_flips_as_max_flip_rate_and_no_more(
    exported: Exported, copy: Path, monkeypatch: pytest.MonkeyPatch, flips: int
) -> None:
    """A quarter of eight judged images may flip; what happens to the images that gave the ranges does not matter."""
    Timed(monkeypatch, {exported[1]: 2.0, copy: 1.0})
    judge = judge_of(exported, Int8Config(max_flip_rate=0.25))
    assert len(judge.for_judging) == N / 2
    flipped = flip(judge.logits, [*judge.for_judging[:flips], *judge.for_ranges])
    monkeypatch.setattr(judge_module, "run_one_by_one", lambda *_: flipped)
    row = judge.measure(copy, CANDIDATE)
    assert isinstance(row, Row)
    assert (row.flips, row.n, row.flip_rate) == (flips, N / 2, flips / (N / 2))
    if flips <= 2:
        assert row.why_not is None
    else:
        assert row.why_not == f"{flips} of 8 images change their first choice, more than max_flip_rate 0.25"
        assert row.ms is None, "what is not exact enough is not timed"


def flip(logits: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """Logits [N, C] that say the opposite on these rows."""
    changed = logits.copy()
    changed[rows] *= -1
    return changed
