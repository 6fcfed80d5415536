from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import SplitsConfig
from data.manifest import SPLITS
from data.splits import NONE, TRAIN, Assignment, assign, draw_split

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


names = st.sampled_from([f"g{number}" for number in range(12)])
rows = st.lists(
    st.tuples(names, st.sampled_from([NONE, *range(4)]), st.sampled_from([NONE, *range(4)])), min_size=1, max_size=40
)


def assigned(
    found: list[tuple[str, int, int]], config: SplitsConfig = CONFIG
) -> tuple[list[str], list[int], Assignment]:
    """The rows' group names, given splits and assignment."""
    known = sorted({name for name, _, _ in found})
    group = np.array([known.index(name) for name, _, _ in found])
    given_, recorded = (np.array([row[column] for row in found], np.int8) for column in (1, 2))
    return [name for name, _, _ in found], given_.tolist(), assign(group, pa.array(known), given_, recorded, config)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows)
def test_assign__keeps_groups_together_and_what_is_given_or_recorded(found: list[tuple[str, int, int]]) -> None:
    groups, given_, result = assigned(found)
    absent = [split for split in ("test", "calibration", "val") if SPLITS.index(split) not in given_]
    for name in set(groups):
        members = [index for index, other in enumerate(groups) if other == name]
        sources = {given_[index] for index in members} - {NONE}
        splits = {int(result.split[index]) for index in members}
        assert result.crossing[members].all() == result.crossing[members].any() == (len(sources) > 1)
        recorded = {found[index][2] for index in members} & {TRAIN, *map(SPLITS.index, absent)}
        if len(sources) > 1:
            assert all(int(result.split[index]) == given_[index] for index in members)
        elif sources and not (sources == {TRAIN} and absent):
            assert splits == sources
        elif len(recorded) == 1:
            assert splits == recorded
        elif not recorded:
            assert splits == {SPLITS.index(draw_split(name, CONFIG, tuple(absent)))}
        else:  # recorded in several: each keeps its own, and nothing joins
            assert all(int(result.split[index]) in (found[index][2], NONE) for index in members)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(names, min_size=1, max_size=30), st.lists(names, max_size=30))
def test_assign__adding_images_moves_none(old: list[str], new: list[str]) -> None:
    """Whatever is added, also to groups that are there, nothing leaves its split."""
    _, _, before = assigned([(name, NONE, NONE) for name in old])
    first = dict(zip(old, before.split.tolist(), strict=True))
    _, _, fresh = assigned([(name, NONE, NONE) for name in [*old, *new]])
    assert fresh.split.tolist()[: len(old)] == before.split.tolist()
    recorded = [(name, NONE, int(split)) for name, split in zip(old, before.split.tolist(), strict=True)]
    groups, _, after = assigned([*recorded, *((name, NONE, NONE) for name in new)])
    assert all(first.get(name, split) == split for name, split in zip(groups, after.split.tolist(), strict=True))


def test_assign__a_new_image_that_joins_two_recorded_groups_takes_no_part() -> None:
    test = SPLITS.index("test")
    _, _, result = assigned([("a", NONE, TRAIN), ("a", NONE, test), ("a", NONE, NONE)])
    assert result.split.tolist() == [TRAIN, test, NONE]
