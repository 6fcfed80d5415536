"""Charts of intervals: what was observed, how far the truth may lie from it, and the limit."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from verify.certificate import Rate
from verify.evidence import Verdict
from verify.report.canvas import ON_PAGE, WIDTH, Palette, Sheet, beside, drawn

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


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The axis of a chart, in percent or in points."""

    unit: str
    factor: float = 100
    limit: float | None = None
    at_least: bool = True
    """The side of the limit on which all is well."""
    within: tuple[float, float] | None = None
    """Both ends; null takes what the rows need."""


@drawn
def intervals(about: str, rows: Sequence[Interval], scale: Scale, colors: Palette = ON_PAGE) -> Sheet:
    """A row for each interval, all on one axis; of more than ``MOST`` the first."""
    shown = rows[:MOST]
    sheet, axes = _with_rows(about, [(row.name, row.figures) for row in shown], scale.unit, colors)
    axes.set_xlim(*_ends(shown, scale))
    axes.spines["left"].set_visible(False)
    if scale.limit is not None:
        _limit(axes, scale, len(shown), colors)
    for number, row in enumerate(shown):
        _row(axes, number, row, scale.factor, colors)
    return sheet


def _with_rows(about: str, rows: Sequence[tuple[str, str]], unit: str, colors: Palette) -> tuple[Sheet, Axes]:
    """A sheet with the words of each row, name and figures, and the axes below them."""
    sheet = Sheet(ROW * len(rows) + 44, about, colors)
    axes = sheet.axes(12, 6, 12, 38)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])
    axes.grid(axis="x", color=colors.line, linewidth=0.6)
    axes.set_xlabel(unit, fontsize=10)
    for number, (name, figures) in enumerate(rows):
        top = 6 + ROW * number + 11
        sheet.text(12, top, beside(name, figures), fontsize=10.5)
        sheet.text(WIDTH - 12, top, figures, fontsize=10, ha="right", color=colors.quiet)
    return sheet, axes


def _row(axes: Axes, number: int, row: Interval, factor: float, colors: Palette) -> None:
    color, marker, fill = _LOOKS[row.verdict]
    shade = getattr(colors, color)
    middle = number + 0.72
    axes.plot([factor * row.lower, factor * row.upper], [middle, middle], color=shade, linewidth=2, clip_on=False)
    if row.value is not None:
        face = shade if fill else colors.paper
        style = {"edgecolors": shade, "facecolors": face} if marker != "x" else {"color": shade}
        axes.scatter(
            [factor * row.value], [middle], s=34, marker=marker, linewidths=1.8, zorder=3, clip_on=False, **style
        )


_LOOKS = {
    "PASS": ("passed", "o", True),
    "FAIL": ("failed", "x", True),
    "INCONCLUSIVE": ("undecided", "o", False),
    None: ("accent", "o", True),
}
"""Color, marker, and whether it is filled: nobody has to tell colors apart."""


def _limit(axes: Axes, scale: Scale, rows: int, colors: Palette) -> None:
    assert scale.limit is not None
    limit = scale.factor * scale.limit
    left, right = axes.get_xlim()
    wrong = (left, limit) if scale.at_least else (limit, right)
    axes.axvspan(*wrong, color=colors.failed, alpha=0.07, linewidth=0)
    # Beside the intervals only: through the words it would be read as a letter.
    tops = [row + 0.5 for row in range(rows)]
    axes.vlines([limit] * rows, tops, [top + 0.45 for top in tops], color=colors.ink, linewidth=1.6)


def _ends(rows: Sequence[Interval], scale: Scale) -> tuple[float, float]:
    """Ends of the axis: all of every interval, the limit, and some room."""
    if scale.within is not None:
        return scale.within
    values = [scale.factor * end for row in rows for end in (row.lower, row.upper)]
    values += [] if scale.limit is None else [scale.factor * scale.limit]
    room = 0.06 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


@drawn
def bars(about: str, rows: Sequence[tuple[str, str, float, float]], unit: str, colors: Palette = ON_PAGE) -> Sheet:
    """Bars from 0 on, each with a whisker: name, figures, length, end of the whisker."""
    shown = rows[:MOST]
    sheet, axes = _with_rows(about, [(name, figures) for name, figures, *_ in shown], unit, colors)
    axes.set_xlim(0, 1.04 * max((end for *_, end in shown), default=1))
    for number, (*_, length, end) in enumerate(shown):
        axes.add_patch(Rectangle((0, number + 0.6), length, 0.24, color=colors.accent, linewidth=0))
        axes.plot([length, end], [number + 0.72] * 2, color=colors.accent, linewidth=1.2)
        axes.plot([end, end], [number + 0.62, number + 0.82], color=colors.accent, linewidth=1.2)
    return sheet
