"""A sheet to draw on with Matplotlib: SVG that follows a page's light and dark colors, or PNG for places without CSS.

The same drawing gives the same bytes.
"""

import io
import logging
import re
import warnings
from dataclasses import dataclass, fields
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from run.text import escaped

POINTS = 72
"""Matplotlib's units per inch; here, one is a pixel of a page that shows the drawing at its own width."""

WIDTH = 380
"""Of every chart: a phone shows one beside another's height, a desk shows several side by side, all words readable."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketeva",
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.family": "DejaVu Sans",  # Matplotlib's own, so that a picture is the same on any machine
    "font.size": 11,
    "axes.linewidth": 0.8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.unicode_minus": True,
}
_RESOLUTION = 2
"""Pixels of a PNG for each unit."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colors by their meaning."""

    ink: str
    quiet: str
    line: str
    paper: str
    accent: str
    second: str
    passed: str
    failed: str
    undecided: str


# On a page each is the CSS variable of its name: Matplotlib gets stand-ins, which are replaced in what it wrote.
_STAND_INS = {field.name: f"#00fe{number:02x}" for number, field in enumerate(fields(Palette))}
ON_PAGE = Palette(**_STAND_INS)
ON_WHITE = Palette(
    ink="#1b1f24",
    quiet="#5b6470",
    line="#d5dae1",
    paper="#ffffff",
    accent="#2458b8",
    second="#b4560f",
    passed="#1a7f4b",
    failed="#c0282d",
    undecided="#9a6700",
)

drawn = mpl.rc_context(_SETTINGS)
"""Decorates a function that draws: our settings hold for as long as it does, and nobody else's drawings change."""


class Sheet:
    """A drawing of ``WIDTH`` units and any height, made by a function that is ``drawn``.

    Args:
        height: in units.
        about: says what it shows to those who cannot see it.
        colors: ``ON_PAGE`` for SVG, ``ON_WHITE`` for PNG.
    """

    def __init__(self, height: float, about: str, colors: Palette = ON_PAGE) -> None:
        self.height = height
        self.colors = colors
        self._about = about
        self._figure = Figure(figsize=(WIDTH / POINTS, height / POINTS))
        self._figure.patch.set_visible(colors is not ON_PAGE)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """A plot between these margins, with quiet lines and words."""
        size = (WIDTH - left - right) / WIDTH, (self.height - top - bottom) / self.height
        axes = self._figure.add_axes((left / WIDTH, bottom / self.height, *size), facecolor="none")
        axes.tick_params(colors=self.colors.quiet, labelsize=10, pad=4)
        axes.xaxis.label.set_color(self.colors.quiet)
        axes.yaxis.label.set_color(self.colors.quiet)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(self.colors.line)
        axes.set_axisbelow(True)
        return axes

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words at a place in units from the upper left corner; never a formula."""
        given = {"color": self.colors.ink, "va": "center", **style}
        self._figure.text(x / WIDTH, 1 - y / self.height, plain(words), **given)

    def svg(self) -> Markup:
        """The drawing as a part of a page."""
        text = self._saved("svg", {"Date": None, "Creator": None, "Format": None, "Type": None}).decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
        # Groups are numbered anew in every drawing: on one page the names would not be unique, and nothing needs them.
        text = re.sub(r'<g id="[^"]*">', "<g>", text)
        for name, stand_in in _STAND_INS.items():
            text = text.replace(stand_in, f"var(--{name})")
        text = re.sub('font-family: [^;"]+', "font-family: var(--sans)", text)
        text = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", text)
        text = re.sub(r"\s*\n\s*", " ", text)
        label = f'<svg role="img" aria-label="{Markup.escape(plain(self._about))}" '
        box = f'viewBox="0 0 {WIDTH:g} {self.height:g}" class="chart">'
        return Markup(re.sub(r"^<svg [^>]*>", lambda _: label + box, text).strip())  # noqa: S704 - Matplotlib escaped it

    def png(self) -> bytes:
        """The drawing as a picture."""
        return self._saved("png", {"Software": None})

    @drawn
    def _saved(self, form: str, metadata: dict[str, None]) -> bytes:
        stream = io.BytesIO()
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # Of letters that its font lacks: on a page the browser has them, in a picture they become boxes.
            warnings.simplefilter("ignore", UserWarning)
            self._figure.savefig(stream, format=form, dpi=POINTS * _RESOLUTION, metadata=metadata)
        return stream.getvalue()


def plain(words: str) -> str:
    """Words in one line, without what would steer how they are shown."""
    return escaped(" ".join(words.split()), one_line=True)


def beside(name: str, figures: str) -> str:
    """As much of a name as a line holds beside these figures."""
    return shortened(name, int((WIDTH - 36 - 6 * len(figures)) / 6.4))


def shortened(words: str, letters: int) -> str:
    """At most so many letters; what was left out is marked."""
    text = plain(words)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
