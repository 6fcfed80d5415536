import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from data.bounds import upper_bound
from data.decode import decode
from export.int8 import judge as judge_module
from export.int8.config import Int8Config
from export.int8.judge import Judge, SweepImages
from export.int8.result import Candidate, Gate, Row
from tests import support
from tests.export.conftest import Exported

N = 16
"""Photographs that are judged."""

CANDIDATE = Candidate("MinMax", per_channel=True, activation="QUInt8")


def judge_of(exported: Exported, config: Int8Config, tries: int = 1) -> Judge:
    """A judge over photographs without labels: no temperature is fitted."""
    classifier, path = exported
    images = [decode(path.read_bytes()) for path, _ in support.elpv_rows()[:N]]
    pixels = classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in images]))
    unlabeled = SweepImages(pixels[:2], pixels, np.zeros((N, 4), np.float32), np.zeros(N, np.bool_))
    return Judge(path, unlabeled, config, tries)


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
    row = judge_of(exported, Int8Config(min_speedup=1.5, max_flip_rate=0.5)).measure(copy, CANDIDATE)
    assert isinstance(row, Row)
    assert (row.fp32_ms, row.ms) == (fp32_ms, ms)
    slow = f"{ms:.2f} ms an image against {fp32_ms:.2f} ms in fp32: not fast enough"
    assert row.why_not == (None if passes else slow)


@pytest.mark.parametrize(("tries", "allowed"), [(1, 4), (5, 2), (50, 1)])
def test_measure__as_many_flips_as_the_bound_allows_and_no_more(
    exported: Exported, copy: Path, monkeypatch: pytest.MonkeyPatch, tries: int, allowed: int
) -> None:
    """Half of all decisions may change. The more candidates there are, the fewer flips show that of one of them."""
    Timed(monkeypatch, {exported[1]: 2.0, copy: 1.0})
    judge = judge_of(exported, Int8Config(max_flip_rate=0.5), tries)
    for flips in (0, allowed, allowed + 1, N):
        flipped = flip(judge.logits, range(flips))
        monkeypatch.setattr(judge_module, "logits_of", lambda *_, given=flipped: given)
        row = judge.measure(copy, CANDIDATE)
        assert isinstance(row, Row)
        assert (row.flips, row.n, row.flip_rate) == (flips, N, flips / N)
        # The bound is the rate at which so few flips, or fewer, come up with the risk that is left to one candidate.
        assert binom.cdf(flips, N, row.most_flips) == pytest.approx(0.05 / tries if flips < N else 1)
        if flips <= allowed:
            assert row.why_not is None
        else:
            most = math.ceil(row.most_flips * 10_000) / 100  # a bound is not rounded in its own favor
            said = f"{flips} of 16 images change their decision: up to {most:.2f}% of all, above 50.00%"
            assert row.why_not == said
            assert row.ms is None, "what is not exact enough is not timed"


def test_gate__true_rates_above_the_limit_pass_five_percent_of_the_time_at_most() -> None:
    """Eight candidates, any of which may be taken: by the rate observed, one at 4 % passed half the time."""
    gate = Gate.of(Int8Config(), tries=8)
    generator = np.random.default_rng(0)
    for n, rate in ((149, 0.04), (512, 0.021)):
        flips = generator.binomial(n, rate, (4000, 8))
        bounds = {count: upper_bound(count, n, gate.confidence) for count in np.unique(flips).tolist()}
        passed = np.vectorize(bounds.get)(flips) <= gate.max_flip_rate
        assert passed.any(1).mean() <= 0.05


@pytest.mark.parametrize(
    ("limit", "tries", "needed"), [(0.02, 1, 149), (0.01, 1, 299), (0.02, 2, 183), (0.02, 17, 289)]
)
def test_images_needed__are_just_enough(limit: float, tries: int, needed: int) -> None:
    gate = Gate.of(Int8Config(max_flip_rate=limit), tries)
    assert gate.images_needed == needed
    assert upper_bound(0, needed, gate.confidence) <= limit < upper_bound(0, needed - 1, gate.confidence)


def test_upper_bound__worked() -> None:
    """2 % with 95 % confidence takes 236 images with one flip, and 313 with two."""
    assert upper_bound(1, 236, 0.95) <= 0.02 < upper_bound(1, 235, 0.95)
    assert upper_bound(2, 313, 0.95) <= 0.02 < upper_bound(2, 312, 0.95)


def flip(logits: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """Logits [N, C] that say the opposite on these rows."""
    changed = logits.copy()
    changed[list(rows)] *= -1
    return changed
