"""Guesses whether labels are one of many, ordered or several at a time, and their order."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.config import Kind

_SCALES: Sequence[Sequence[str]] = (
    ("none", "no", "negative", "normal", "neutral", "clean", "safe", "healthy", "functional", "good", "ok", "sound"),
    ("unlikely", "doubtful", "questionable", "possibly", "slight", "trace", "minimal", "minor", "mild", "low", "small"),
    ("moderate", "medium", "middle", "some", "probably", "fair"),
    ("likely", "strong", "marked", "major", "high", "large", "heavy", "severe", "serious", "bad", "defective"),
    ("extreme", "critical", "worst", "proliferative", "very severe", "very high"),
)
"""Words of scales, from mild to severe."""

MOST_GRADES = 7
"""More numbers than this are more often names, such as digits, than grades."""


class Guess(NamedTuple):
    """A kind, the labels in their order, and why."""

    kind: Kind
    names: list[str]
    why: str


def guess_kind(names: Sequence[str], *, exclusive: bool) -> Guess:
    """The kind and order of labels, from their names, and from whether every image has exactly one of them."""
    plain = sorted(names, key=_natural)
    if not exclusive:
        return Guess("multilabel", plain, "some images have several labels, or none")
    ranks = _ranks(plain)
    if ranks is not None:
        return Guess("ordinal", sorted(plain, key=lambda name: ranks[name]), "the names are steps of a scale")
    return Guess("nominal", plain, "every image has one label, and the names are no scale")


def _ranks(names: Sequence[str]) -> Mapping[str, float] | None:
    """A place on a scale for each of three names or more; null where they are none."""
    if not 3 <= len(names) <= MOST_GRADES:
        return None
    numbers = [re.fullmatch(r"(\D*?)[ _-]*(\d{1,2})[ _-]*(\D*)", name) for name in names]
    found = [match for match in numbers if match]
    steps = sorted(int(match[2]) for match in found)
    # Numbers count where nothing else differs (grade_0, grade_1), or where they come first (0_none, 1_mild).
    alike = len({(match[1], match[3]) for match in found}) == 1 or all(not match[1] for match in found)
    if len(found) == len(names) and alike and steps == list(range(steps[0], steps[0] + len(steps))):
        return {match[0]: int(match[2]) for match in found}
    words = {name: _level(name) for name in names}
    levels = {name: level for name, level in words.items() if level is not None}
    return levels if len(set(levels.values())) == len(names) else None


def _level(name: str) -> float | None:
    """The step that a name's words stand for; "very" and "possibly" are looked for first."""
    words = re.split(r"[^a-z]+", name.casefold())
    found = [step for step, scale in enumerate(_SCALES) for word in words if word in scale]
    if not found:
        return None
    # "probably defective" is a lesser defect: its first word places it, and "very" raises what it stands before.
    return found[0] + 0.5 * ("very" in words)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """The key of an order in which 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
