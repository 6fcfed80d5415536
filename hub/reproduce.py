"""The verb ``reproduce``: a published model measured here, on the test split of a config, figure by figure."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from export.limits import MOST_SECONDS, bounded_memory
from export.release import WEIGHTS, open_onnx
from export.runtime import processor
from hub.claims import Claim
from hub.places import without_key
from hub.published import Published
from models.decision import DecisionRule, Decisions
from run.config import TrainerConfig
from run.console import console, show_table
from run.errors import UserError, plural
from run.figures import between
from run.files import file_digest
from run.folder import RunFolder
from run.text import escaped
from run.usage import usable_cores
from verify.again import Measured, measure_again
from verify.chunks import run_over

SCHEMA = 1
"""Raised whenever a reader of the JSON would have to change."""
TOLERANCE = 1.0
"""Points by which a figure may differ at least."""
CONFIDENCE = 0.95
"""Of the intervals that are measured."""

Outcome = Literal["holds", "not shown", "does not hold"]
COLORS = {"holds": "green", "not shown": "yellow", "does not hold": "red"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published figure, and the same measured here."""

    claim: Claim
    measured: Measured
    outcome: Outcome
    """Holds within the tolerance or the published interval, whichever is wider; not shown where only the measured
    interval reaches into that."""


def reproduce(
    run: RunFolder, published: Published, manifest: Manifest, trainer: TrainerConfig, tolerance: float = TOLERANCE
) -> list[Figure]:
    """Measure every claim on the test split. This may take hours; ONNX files go on where they were interrupted.

    Args:
        run: keeps what was computed, in ``reproduce/``.
        manifest: its test split, one image of each group of duplicates, is what is measured on.
        trainer: the device, for a checkpoint.
        tolerance: in points.

    Raises:
        UserError: a file cannot be run, or has other labels, or the split has no labeled images.
    """
    rows = judged_images(manifest)
    truth = manifest.labels.truth(rows.targets())
    decided = _onnx(run, published, rows) if published.files else {"": _checkpoint(run, published, rows, trainer)}
    rule = DecisionRule.of(manifest.labels)
    figures = []
    for claim in published.claims.read:
        measured = measure_again(claim.metric, rule, truth, decided[claim.file], CONFIDENCE)
        if not measured.n:
            raise UserError(f"the test split has no image that {claim.metric} is about: add some, or leave it out")
        figures.append(Figure(claim=claim, measured=measured, outcome=outcome(claim, measured, tolerance)))
    return figures


def judged_images(manifest: Manifest) -> Manifest:
    """The rows that are measured on: exact bounds need independent draws, and truth needs one true label."""
    rows = manifest.labeled_rows("test").one_per_group().with_truth()
    if not len(rows):
        raise UserError("no image of the test split has one true label: votes tie on all of them")
    return rows


def outcome(claim: Claim, measured: Measured, tolerance: float) -> Outcome:
    """Compare a measured figure with a published one, and its interval if it has one; the tolerance is in points."""
    # A hair more, because 0.9 - 0.89 is above 0.01 in floating point.
    room = tolerance / 100 + 1e-9
    lower = min(claim.value - room, claim.value if claim.lower is None else claim.lower)
    upper = max(claim.value + room, claim.value if claim.upper is None else claim.upper)
    if lower <= measured.value <= upper:
        return "holds"
    return "not shown" if measured.lower <= upper and measured.upper >= lower else "does not hold"


def _onnx(run: RunFolder, published: Published, rows: Manifest) -> dict[str, Decisions]:
    """The decisions of each ONNX file, by its own rule, within the memory that a sound file of its size takes."""
    files = sorted(published.files.values(), key=lambda path: path.stat().st_size, reverse=True)
    with bounded_memory(*files, images=usable_cores()):
        opened = {name: open_onnx(path, threads=1, seconds=MOST_SECONDS) for name, path in published.files.items()}
        for name, model in opened.items():
            rows.labels.require_equal(model.labels, f"{published.place} ({name})")
        digests = {name: file_digest(path) for name, path in published.files.items()}
        functions = {digests[name]: model.logits_of for name, model in opened.items()}
        logits = run_over(rows, functions, run.root / "reproduce")
    return {name: model.rule.decide(model.rule.probabilities(logits[digests[name]])) for name, model in opened.items()}


def _checkpoint(run: RunFolder, published: Published, rows: Manifest, trainer: TrainerConfig) -> Decisions:
    """The decisions of a checkpoint: the likeliest label, or each from one half on."""
    logits = _timm_logits(published, rows, trainer) if published.is_timm else _transformers_logits(run, published, rows)
    if logits.shape[1] != len(published.columns):
        raise UserError(
            f"{published.place} gives {plural(logits.shape[1], 'number')} for {len(published.columns)} labels"
        )
    rule = DecisionRule.of(rows.labels)
    return rule.decide(rule.probabilities(logits[:, list(published.columns)]))


def _timm_logits(published: Published, rows: Manifest, trainer: TrainerConfig) -> NDArray[np.float32]:
    from models.building import open_checkpoint  # torch takes seconds
    from models.forward import whole_image_logits

    with without_key("reproduce"):
        classifier = open_checkpoint(published.checkpoint, published.place, "reproduce")
    examples = Examples.of_originals(rows, ViewsConfig())
    # In float32: what lower precision changes is no property of what was published.
    return whole_image_logits(classifier, examples, trainer, "32-true", "measuring images")


def _transformers_logits(run: RunFolder, published: Published, rows: Manifest) -> NDArray[np.float32]:
    from hub.transformers_model import open_transformers
    from models.device import one_thread

    name = file_digest(published.checkpoint / WEIGHTS)
    with one_thread():  # images run side by side
        return run_over(rows, {name: open_transformers(published.checkpoint)}, run.root / "reproduce")[name]


def print_figures(published: Published, figures: list[Figure], images: int, tolerance: float, *, as_json: bool) -> bool:
    """Print published against measured; true where every figure holds."""
    holds = all(figure.outcome == "holds" for figure in figures)
    if as_json:
        console.out(json.dumps(_json(published, figures, images, tolerance, holds=holds)), highlight=False)
        return holds
    show_table(_table(published, figures))
    for text in published.claims.passed_over:
        console.print(f"not measured: {escaped(text, one_line=True)}", soft_wrap=True)
    count = sum(figure.outcome == "holds" for figure in figures)
    points = f"{tolerance:g} {'point' if tolerance == 1 else 'points'}"
    console.print(
        f"{count} of {plural(len(figures), 'figure holds', 'figures hold')} on {plural(images, 'test image')}, within "
        f"{points} or the published interval, whichever is wider; measured with "
        f"{CONFIDENCE:.0%} intervals on {processor()}"
    )
    if any(figure.outcome == "not shown" for figure in figures):
        console.print("not shown: the figure is out of that, and so few images settle nothing: measure on more")
    return holds


def _json(published: Published, figures: list[Figure], images: int, tolerance: float, *, holds: bool) -> dict[str, Any]:
    return {
        "format": SCHEMA,
        "given": published.place,
        "images": images,
        "tolerance_points": tolerance,
        "confidence": CONFIDENCE,
        "processor": processor(),
        "holds": holds,
        "figures": [
            {
                "file": figure.claim.file,
                "metric": figure.claim.metric,
                "about": figure.claim.about,
                "published": {"value": figure.claim.value, "lower": figure.claim.lower, "upper": figure.claim.upper},
                "measured": asdict(figure.measured),
                "difference": figure.measured.value - figure.claim.value,
                "outcome": figure.outcome,
            }
            for figure in figures
        ],
        "not_measured": list(published.claims.passed_over),
    }


def _table(published: Published, figures: list[Figure]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
    table.title = f"{escaped(published.place, one_line=True)}, in percent"
    if published.files:
        table.add_column("file")
    table.add_column("metric", overflow="fold")
    for head in ("published", "measured", "points"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("outcome")
    for figure in figures:
        claim = figure.claim
        table.add_row(
            *([claim.file] if published.files else []),
            escaped(claim.metric, one_line=True),
            _percent(claim.value, claim.lower, claim.upper),
            _percent(figure.measured.value, figure.measured.lower, figure.measured.upper),
            f"{100 * (figure.measured.value - claim.value):+.1f}",
            Text(figure.outcome, style=COLORS[figure.outcome]),
        )
    return table


def _percent(value: float, lower: float | None, upper: float | None) -> str:
    interval = "" if lower is None or upper is None else f"\n{between(lower, upper)}"
    return f"{100 * value:.1f}{interval}"
