from collections import Counter
from itertools import pairwise

import pytest

from data.config import SplitsConfig
from data.splits import draw_split

GROUPS = [f"group-{number}" for number in range(20_000)]
CONFIG = SplitsConfig(val=0.1, calibration=0.15, test=0.2)


def test_draw_split__depends_on_group_and_seed_alone() -> None:
    known = {"group-0": "val", "group-1": "test", "group-2": "train", "group-3": "train", "group-4": "test"}
    assert {group: draw_split(group, CONFIG) for group in known} == known, "published splits must never move"


def test_draw_split__shares_are_about_right() -> None:
    counts = Counter(draw_split(group, CONFIG) for group in GROUPS)
    shares = {"val": 0.1, "calibration": 0.15, "test": 0.2, "train": 0.55}
    assert {split: counts[split] / len(GROUPS) for split in shares} == pytest.approx(shares, abs=0.012)


def test_draw_split__another_seed_draws_other_splits() -> None:
    other = SplitsConfig(val=0.1, calibration=0.15, test=0.2, seed=1)
    moved = sum(draw_split(group, CONFIG) != draw_split(group, other) for group in GROUPS)
    expected = 1 - (0.1**2 + 0.15**2 + 0.2**2 + 0.55**2)
    assert moved / len(GROUPS) == pytest.approx(expected, abs=0.02)


def test_draw_split__changing_one_share_moves_only_images_into_or_out_of_held_out_splits() -> None:
    """The test split comes first, so that other shares do not touch it."""
    more = SplitsConfig(val=0.2, calibration=0.05, test=0.2)
    tests = [{group for group in GROUPS if draw_split(group, config) == "test"} for config in (CONFIG, more)]
    assert tests[0] == tests[1]
    sizes = [SplitsConfig(test=share) for share in (0.1, 0.2, 0.3)]
    nested = [{group for group in GROUPS if draw_split(group, config) == "test"} for config in sizes]
    assert all(small < large for small, large in pairwise(nested))


@pytest.mark.parametrize("within", [("val",), ("calibration", "val"), ()])
def test_draw_split__within_some_splits(within: tuple[str, ...]) -> None:
    counts = Counter(draw_split(group, CONFIG, within) for group in GROUPS)
    assert set(counts) == {*within, "train"}
    for split in within:
        assert counts[split] / len(GROUPS) == pytest.approx(getattr(CONFIG, split), abs=0.012)
