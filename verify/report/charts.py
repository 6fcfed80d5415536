"""Charts of what a model says: who is taken for whom, how sure it is, what it flags, and how its training went."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from fitting.history import Epoch
from verify.certificate import Bin, PointFacts, Side
from verify.report.canvas import ON_PAGE, WIDTH, Palette, Sheet, drawn, shortened
from verify.report.curves import OperatingCurve


@drawn
def matrix(
    about: str,
    counts: Sequence[Sequence[int]],
    names: Sequence[str],
    sides: tuple[str, str],
    *,
    shares: bool,
    colors: Palette = ON_PAGE,
) -> Sheet:
    """Counts by row and column; the darker a cell, the larger its share of its row.

    Args:
        counts: [row][column].
        names: of the rows, which are those of the columns.
        sides: what rows and columns are.
        shares: write each cell's share of its row below its count.
        colors: as for ``Sheet``.
    """
    size = len(names)
    left = 34 + min(max(len(shortened(name, 16)) for name in names), 16) * 6.2
    cell = min((WIDTH - left - 12) / size, 64)
    top = 48
    sheet = Sheet(top + cell * size + 12, about, colors)
    axes = sheet.axes(left, top, WIDTH - left - cell * size, 12)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.axis("off")
    # Names that do not fit over their column are numbered at the left, and numbers stand over the columns.
    fit = max(len(shortened(name, 16)) for name in names) * 6.2 <= cell - 4
    numbered = [
        shortened(name, 16) if fit else f"{number} {shortened(name, 16)}" for number, name in enumerate(names, 1)
    ]
    sheet.text(left, 12, f"{sides[1]} →", fontsize=10, color=colors.quiet)
    sheet.text(left - 8, 34, f"{sides[0]} ↓", fontsize=10, color=colors.quiet, ha="right")
    for row in range(size):
        whole = sum(counts[row])
        middle = top + (row + 0.5) * cell
        sheet.text(left - 8, middle, numbered[row], fontsize=10.5, ha="right")
        above = shortened(names[row], 16) if fit else str(row + 1)
        sheet.text(left + (row + 0.5) * cell, 34, above, fontsize=10.5, ha="center")
        for column, count in enumerate(counts[row]):
            share = count / whole if whole else 0.0
            color = colors.accent if row == column or not shares else colors.second
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, alpha=0.08 + 0.62 * share if count else 0.0))
            axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=colors.line, linewidth=0.8))
            if cell >= 16 and (count or (shares and row == column)):
                _cell(
                    axes, row, column, f"{count:,}", f"{share:.0%}" if shares and whole and cell >= 34 else "", colors
                )
    return sheet


def _cell(axes: Axes, row: int, column: int, count: str, share: str, colors: Palette) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": colors.ink}
    axes.text(column + 0.5, row + (0.4 if share else 0.5), count, fontsize=11, fontweight="bold", **style)
    if share:
        axes.text(column + 0.5, row + 0.72, share, fontsize=9, **style)


@drawn
def diverging(about: str, rows: Sequence[Side]) -> Sheet:
    """Disagreements by true label: those that are milder to the left, those that are more severe to the right."""
    height = 34
    sheet = Sheet(height * len(rows) + 56, about)
    axes = sheet.axes(12, 24, 12, 32)
    most = max(1, *(max(row.milder, row.severer) for row in rows)) * 1.18
    axes.set_xlim(-most, most)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    axes.set_xlabel("images", fontsize=10)
    axes.axvline(0, color=ON_PAGE.quiet, linewidth=1)
    sheet.text(12, 10, "← milder than the teacher", fontsize=10, color=ON_PAGE.second)
    sheet.text(WIDTH - 12, 10, "more severe →", fontsize=10, ha="right", color=ON_PAGE.accent)
    for number, row in enumerate(rows):
        for count, sign, color in ((row.milder, -1, ON_PAGE.second), (row.severer, 1, ON_PAGE.accent)):
            axes.add_patch(Rectangle((0, number + 0.55), sign * count, 0.32, color=color, linewidth=0))
            place: dict[str, Any] = {"ha": "right" if sign < 0 else "left", "va": "center", "color": ON_PAGE.ink}
            axes.text(sign * (count + 0.02 * most), number + 0.71, f"{count:,}", fontsize=10, **place)
        top = 24 + height * number + 10
        sheet.text(12, top, f"true: {shortened(row.truth, 40)}", fontsize=10.5)
        sheet.text(WIDTH - 12, top, f"n {row.n:,}", fontsize=10, ha="right", color=ON_PAGE.quiet)
    return sheet


@drawn
def reliability(about: str, bins: Sequence[Bin], confidence: float, colors: Palette = ON_PAGE) -> Sheet:
    """The share on which a file is right over the probability that it gives, with what chance alone gives."""
    sheet = Sheet(372, about, colors)
    axes = _unit_square(sheet, "probability that it gives", "share on which it is right")
    axes.plot([0, 1], [0, 1], color=colors.quiet, linewidth=1, linestyle=(0, (4, 2)))
    said = [one.said for one in bins]
    for one in bins:
        outside = not one.lower <= one.right <= one.upper
        axes.plot(
            [one.said] * 2, [one.lower, one.upper], color=colors.accent, alpha=0.28, linewidth=7, solid_capstyle="butt"
        )
        shade = colors.failed if outside else colors.accent
        axes.scatter(
            [one.said], [one.right], s=30, color=shade, marker="x" if outside else "o", zorder=3, clip_on=False
        )
    axes.plot(said, [one.right for one in bins], color=colors.accent, linewidth=1, alpha=0.6)
    smallest = min(one.n for one in bins)
    largest = max(one.n for one in bins)
    size = f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
    for height, words in (
        (0.08, f"{len(bins)} bins of {size} images"),
        (0.03, f"bars: by chance, {confidence:.0%} each"),
    ):
        axes.text(0.97, height, words, fontsize=9.5, color=colors.quiet, ha="right", va="bottom")
    return sheet


def _unit_square(sheet: Sheet, across: str, up: str) -> Axes:
    """Axes of two shares."""
    axes = sheet.axes(48, 14, 16, 44)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.grid(color=sheet.colors.line, linewidth=0.6)
    axes.set_xlabel(across, fontsize=10)
    axes.set_ylabel(up, fontsize=10)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return axes


@drawn
def operating(curve: OperatingCurve, points: Sequence[PointFacts], about: str) -> Sheet:
    """Recall over false alarms: what the test images show, what the calibration images can prove, and the points."""
    sheet = Sheet(372, about)
    axes = _unit_square(sheet, "false alarms: share of other images that is flagged", "recall")
    axes.plot([0, 1], [0, 1], color=ON_PAGE.quiet, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.fill_between(
        *curve.provable, step="post", color=ON_PAGE.passed, alpha=0.16, linewidth=0, label="can be promised"
    )
    axes.plot(*curve.test, color=ON_PAGE.accent, linewidth=1.8, label="test images")
    for point in points:
        if point.recall is None or point.fpr is None:
            continue
        x = point.fpr
        y = point.recall
        shade = ON_PAGE.failed if point.verdict == "FAIL" or point.useless else ON_PAGE.second
        axes.plot([x.lower, x.upper], [y.rate] * 2, color=shade, linewidth=1.8)
        axes.plot([x.rate] * 2, [y.lower, y.upper], color=shade, linewidth=1.8)
        axes.scatter([x.rate], [y.rate], s=44, color=shade, zorder=4, clip_on=False, label="chosen point")
        promises: dict[str, Any] = {"color": ON_PAGE.quiet, "linewidth": 1, "linestyle": (0, (4, 2))}
        if point.promised_recall is not None:
            axes.axhline(point.promised_recall, **promises, label="promise")
        if point.promised_fpr is not None:
            axes.axvline(point.promised_fpr, **promises, label="promise")
    legend = axes.legend(loc="lower right", frameon=False, fontsize=10, handlelength=1.4, labelcolor=ON_PAGE.ink)
    legend.set_zorder(1)
    return sheet


@drawn
def training(about: str, epochs: Sequence[Epoch]) -> Sheet:
    """Losses of every epoch or weight decay, and below them the shares of the validation images."""
    decays = [f"{one.weight_decay:g}" for one in epochs if one.weight_decay is not None]
    unit = "weight decay" if decays else "epoch"
    shares = sorted({name for epoch in epochs for name in epoch.shares})
    sheet = Sheet(330 if shares else 230, about)
    numbers = np.arange(1, len(epochs) + 1)
    losses = {
        "training": np.array([np.nan if one.train_loss is None else one.train_loss for one in epochs]),
        "validation": np.array([np.nan if one.val_loss is None else one.val_loss for one in epochs]),
    }
    plot = sheet.axes(48, 26, 16, 140 if shares else 40)
    shades = {"training": ON_PAGE.quiet, "validation": ON_PAGE.accent}
    _lines(plot, numbers, losses, shades)
    plot.set_ylabel("loss", fontsize=10)
    if np.isfinite(losses["validation"]).any():
        kept = int(np.nanargmin(losses["validation"]))
        ring: dict[str, Any] = {"facecolors": ON_PAGE.paper, "edgecolors": ON_PAGE.accent, "linewidths": 1.8}
        plot.scatter([numbers[kept]], [losses["validation"][kept]], s=46, zorder=4, **ring)
        which = decays[kept] if decays else f"{kept + 1} of {len(epochs)}"
        sheet.text(WIDTH - 16, 12, f"○ kept: {unit} {which}", fontsize=10, ha="right", color=ON_PAGE.quiet)
    for index, (name, shade) in enumerate(shades.items()):
        sheet.text(48 + 86 * index, 12, f"— {name}", fontsize=10, color=shade)
    if shares:
        plot.set_xticklabels([])
        below = sheet.axes(48, 212, 16, 40)
        found = {name: np.array([epoch.shares.get(name, np.nan) for epoch in epochs]) for name in shares}
        own = dict(zip(shares, cycle((ON_PAGE.accent, ON_PAGE.second, ON_PAGE.quiet)), strict=False))
        _lines(below, numbers, found, own)
        for index, (name, shade) in enumerate(own.items()):
            sheet.text(48 + 104 * index, 202, f"— {name.replace('_', ' ')}", fontsize=10, color=shade)
        below.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    last = below if shares else plot
    last.set_xlabel(unit, fontsize=10)
    if decays:
        last.xaxis.set_major_formatter(lambda place, _: decays[int(place) - 1] if 1 <= place <= len(decays) else "")
    return sheet


def _lines(axes: Axes, numbers: np.ndarray, values: Mapping[str, np.ndarray], shades: Mapping[str, str]) -> None:
    axes.grid(color=ON_PAGE.line, linewidth=0.6)
    axes.set_xlim(0.5, len(numbers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    for name, found in values.items():
        axes.plot(numbers, found, color=shades[name], linewidth=1.8, marker="o" if len(numbers) < 3 else None)
