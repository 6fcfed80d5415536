"""Splits that stay where they are: an image's split follows from its group and the seed alone."""

import hashlib

from data.config import SplitsConfig


def draw_split(group: str, config: SplitsConfig, within: tuple[str, ...] = ("test", "calibration", "val")) -> str:
    """The split of a group of duplicates.

    A hash of (seed, group) gives a number in [0, 1) that is compared with the held-out shares, so adding images moves
    none of those already there.

    Args:
        group: what the duplicates share.
        config: the shares and the seed.
        within: the held-out splits to draw; a source that brings its own test split leaves that one out.

    Returns:
        One of ``within``, or ``train``.
    """
    digest = hashlib.sha256(f"{config.seed}:{group}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    for split in within:
        share: float = getattr(config, split)
        if point < share:
            return split
        point -= share
    return "train"
