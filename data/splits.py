"""Splits that stay where they are: an image's split follows from its group and the seed, or from what is recorded.

The draw looks at nothing but the group and the seed, so adding images moves none that is there. That is also why it
is stratified in expectation only: exact shares per label would make one image's split depend on the others.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.config import SplitsConfig
from data.manifest import SPLITS

HELD_OUT = ("test", "calibration", "val")
TRAIN = SPLITS.index("train")

NONE = -1
"""In place of a split's number: there is none."""
SEVERAL = -2
"""In place of a group's split: its members have different ones."""

Splits = NDArray[np.int8]
"""Split numbers, which are places in ``SPLITS``, or ``NONE``."""


@dataclass(frozen=True)
class Assignment:
    """The rows' splits, and what stands against them."""

    split: Splits
    """``NONE`` where a new row's group is recorded in several splits, so that any of them would be wrong."""
    crossing: NDArray[np.bool_]
    """Rows of groups to which the source gives several splits."""


def assign(
    group: NDArray[np.integer], names: pa.Array, given: Splits, recorded: Splits, config: SplitsConfig
) -> Assignment:
    """Give every row a split.

    What the source gives goes for the whole group; its training images are drawn from where it lacks a held-out split.
    Then what is recorded is kept, and new members of a group join it. What is still open is drawn.

    Args:
        group: a number per row [N].
        names: of the groups, by number.
        given: the source's splits [N].
        recorded: the splits of an earlier manifest [N].
    """
    absent = tuple(split for split in HELD_OUT if not (given == SPLITS.index(split)).any())
    # The order is the rule: the source before what is recorded, that before the draw.
    by_source = _common(group, given, len(names))
    of_group = np.where((by_source == TRAIN) & bool(absent), NONE, by_source)
    drawable = [TRAIN, *map(SPLITS.index, absent)]
    kept = np.where(np.isin(recorded, drawable), recorded, NONE).astype(np.int8)
    of_group = np.where(of_group == NONE, _common(group, kept, len(names)), of_group)
    fresh = np.flatnonzero(of_group == NONE)
    of_group[fresh] = [SPLITS.index(draw_split(name, config, absent)) for name in names.take(fresh).to_pylist()]
    crossing = (by_source == SEVERAL)[group]
    split = np.where(of_group[group] == SEVERAL, kept, of_group[group])
    return Assignment(np.where(crossing, given, split).astype(np.int8), crossing)


def _common(group: NDArray[np.integer], split: Splits, groups: int) -> Splits:
    """Each group's split, ``NONE`` where no member has one, ``SEVERAL`` where they differ."""
    has = split != NONE
    least = np.full(groups, len(SPLITS), np.int8)
    most = np.full(groups, NONE, np.int8)
    np.minimum.at(least, group[has], split[has])
    np.maximum.at(most, group[has], split[has])
    return np.where((most == NONE) | (least == most), most, SEVERAL).astype(np.int8)


def draw_split(group: str, config: SplitsConfig, within: tuple[str, ...] = HELD_OUT) -> str:
    """The split of a group of duplicates: one of those ``within``, or ``train``.

    A hash of (seed, group) gives a number in [0, 1) that is compared with the held-out shares. A source that brings its
    own test split leaves that one out of ``within``.
    """
    digest = hashlib.sha256(f"{config.seed}:{group}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    for split in within:
        share: float = getattr(config, split)
        if point < share:
            return split
        point -= share
    return "train"
