"""Charts of intervals: what was observed, how far the truth may lie from it, and the limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from verify.certificate import Rate
from verify.evidence import Direction, Verdict
from verify.report.canvas import ON_PAGE, WIDTH, Sheet, beside, drawn

ROW = 34
"""Height of a row: a line of words, and the interval below it."""
MOST = 40
"""Rows that are drawn; the tables have all of them."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One row."""

    name: str
    figures: str
    """In words, such as ``472 of 505``."""
    value: float | None
    """Null where there was no image."""
    lower: float
    upper: float
    verdict: Verdict | None = None
    """Null where nothing is judged."""

    @classmethod
    def of(cls, name: str, rate: Rate, verdict: Verdict | None = None) -> "Interval":
        """The row of a share of images."""
        value = rate.rate if rate.n else None
        figures = f"{rate.count:,} of {rate.n:,}"
        return cls(name=name, figures=figures, value=value, lower=rate.lower, upper=rate.upper, verdict=verdict)


@drawn
def shares(about: str, rows: Sequence[Interval], unit: str) -> Sheet:
    """A row for each share of images, on an axis from 0 to 100 %; of more than ``MOST`` the first."""
    shown = rows[:MOST]
    sheet, axes = _with_words(about, [(row.name, row.figures) for row in shown], unit)
    axes.set_xlim(0, 100)
    _draw(axes, shown, 100)
    return sheet


@drawn
def against_limit(
    about: str, rows: Sequence[Interval], unit: str, limit: float, side: Direction, factor: float = 100
) -> Sheet:
    """A row for each interval beside a limit, whose wrong side is shaded; of more than ``MOST`` the first.

    Args:
        side: of the limit, on which all is well.
        factor: from the numbers of the rows and the limit to the unit.
    """
    shown = rows[:MOST]
    sheet, axes = _with_words(about, [(row.name, row.figures) for row in shown], unit)
    limit *= factor
    values = [limit, *(factor * end for row in shown for end in (row.lower, row.upper))]
    room = 0.06 * (max(values) - min(values)) or 1.0
    left, right = min(values) - room, max(values) + room
    axes.set_xlim(left, right)
    wrong = (left, limit) if side == "at least" else (limit, right)
    axes.axvspan(*wrong, color=ON_PAGE.failed, alpha=0.07, linewidth=0)
    # Beside the intervals only: through the words it would be read as a letter.
    tops = np.arange(len(shown)) + 0.5
    axes.vlines([limit] * len(shown), tops, tops + 0.45, color=ON_PAGE.ink, linewidth=1.6)
    _draw(axes, shown, factor)
    return sheet


def _with_words(about: str, rows: Sequence[tuple[str, str]], unit: str) -> tuple[Sheet, Axes]:
    """A sheet with the words of each row, name and figures, and the axes below them."""
    sheet = Sheet(ROW * len(rows) + 44, about)
    axes = sheet.axes(12, 6, 12, 38)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])
    axes.grid(axis="x", color=ON_PAGE.line, linewidth=0.6)
    axes.set_xlabel(unit, fontsize=10)
    for number, (name, figures) in enumerate(rows):
        top = 6 + ROW * number + 11
        sheet.text(12, top, beside(name, figures), fontsize=10.5)
        sheet.text(WIDTH - 12, top, figures, fontsize=10, ha="right", color=ON_PAGE.quiet)
    return sheet, axes


def _draw(axes: Axes, rows: Sequence[Interval], factor: float) -> None:
    axes.spines["left"].set_visible(False)
    for number, row in enumerate(rows):
        shade, marker, face = _LOOKS[row.verdict]
        middle = number + 0.72
        axes.plot([factor * row.lower, factor * row.upper], [middle] * 2, color=shade, linewidth=2, clip_on=False)
        if row.value is not None:
            style: dict[str, Any] = {"color": shade} if marker == "x" else {"edgecolors": shade, "facecolors": face}
            place = [factor * row.value], [middle]
            axes.scatter(*place, s=34, marker=marker, linewidths=1.8, zorder=3, clip_on=False, **style)


_LOOKS = {
    "PASS": (ON_PAGE.passed, "o", ON_PAGE.passed),
    "FAIL": (ON_PAGE.failed, "x", ON_PAGE.failed),
    "INCONCLUSIVE": (ON_PAGE.undecided, "o", ON_PAGE.paper),
    None: (ON_PAGE.accent, "o", ON_PAGE.accent),
}
"""Color, marker, and what the marker is filled with: nobody has to tell colors apart."""


@drawn
def bars(about: str, rows: Sequence[tuple[str, str, float, float]], unit: str) -> Sheet:
    """Bars from 0 on, each with a whisker: name, figures, length, end of the whisker."""
    shown = rows[:MOST]
    sheet, axes = _with_words(about, [(name, figures) for name, figures, *_ in shown], unit)
    axes.set_xlim(0, 1.04 * max((end for *_, end in shown), default=1))
    for number, (*_, length, end) in enumerate(shown):
        axes.add_patch(Rectangle((0, number + 0.6), length, 0.24, color=ON_PAGE.accent, linewidth=0))
        axes.plot([length, end], [number + 0.72] * 2, color=ON_PAGE.accent, linewidth=1.2)
        axes.plot([end, end], [number + 0.62, number + 0.82], color=ON_PAGE.accent, linewidth=1.2)
    return sheet
