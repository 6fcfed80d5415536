"""Diagnoses of a bad result in plain words, and what to try. No torch here: reports and cards show the same notes.

``diagnose_decisions`` looks at what a model decides, ``diagnose_fit`` at how its fit went, ``diagnose_path`` at how its
head was solved, ``diagnose_gain`` at what distillation added. Each gives notes and prints nothing; ``say`` prints them
at the end of a stage.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitting.config import FitConfig
from fitting.history import Epoch, best_of
from models.decision import DecisionRule, Floats
from run.console import log
from run.errors import plural
from run.files import Json

FEW_STEPS = 50
"""Below this many optimizer steps a fit has hardly begun."""
RISE = 1.1
"""A validation loss that ends this many times as high as it once was has risen,"""
LEAST_RISE = 0.05
"""if it is by this much at least: near 0, any change is a large part of it."""
STILL_FALLING = 0.03
"""Share by which the last epoch, or weight decay, must have lowered the validation loss for more to be worth a try."""
TRAINING = "more epochs, another learning rate"
"""What to try of a fit."""
FEW_IMAGES = 5
"""With fewer true images of a label, that it is never said may be chance."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """One thing to know about a result."""

    says: str
    """The fact, as the end of a sentence about the model."""
    advice: str
    """What to try."""
    serious: bool = False
    """The model is of no use as it is."""

    def line(self, name: str) -> str:
        """The whole sentence about the model of this name."""
        return f"{name} {self.says}. Try: {self.advice}"


def diagnose_decisions(
    probabilities: Floats, targets: Floats, rule: DecisionRule, images: str, training: str = TRAINING
) -> list[Note]:
    """Notes on what a model decides.

    Args:
        probabilities: [N, C].
        targets: of labeled images [N, C]; where two labels are equally likely, there is no true one, and the image is
            left out.
        images: what the N images are, such as ``validation images``.
        training: what to try of the training.
    """
    clear = rule.labels.has_truth(targets)
    if not clear.any():
        return []
    said = rule.decide(probabilities[clear])
    true = rule.labels.truth(targets[clear])
    notes = []
    kinds, counts = np.unique(true, axis=0, return_counts=True)
    commonest = int(counts.max())
    right = int(rule.same(said, true).sum())
    if right <= commonest and len(kinds) > 1:
        answer = _answer(kinds[int(counts.argmax())], rule)
        says = (
            f"is right on {right:,} of {len(true):,} {images}, and always saying {answer} would be right on "
            f"{commonest:,}: it is no better than the commonest answer"
        )
        advice = f"{training}, pretrained weights, more images of the rarer labels"
        notes.append(Note(says=says, advice=advice, serious=True))
    if len(kinds) > 1 and len(np.unique(said, axis=0)) == 1:
        says = f"says {_answer(said[0], rule)} for every one of {len(true):,} {images}"
        advice = f"class_weighting: balanced for the teacher, {training}"
        notes.append(Note(says=says, advice=advice, serious=True))
    elif missed := _never_said(np.asarray(said), np.asarray(true), rule.labels.names):
        advice = "class_weighting: sqrt for the teacher, more images of them"
        notes.append(Note(says=f"never says {', '.join(missed)}", advice=advice))
    return notes


def diagnose_fit(metrics: dict[str, float], config: FitConfig) -> list[Note]:
    """Notes on how a fit went; ``fitting.fit.fit`` returns its metrics."""
    notes = []
    steps, epochs, best = (int(metrics[key]) for key in ("steps", "epochs", "epoch"))
    if steps < FEW_STEPS:
        per_epoch = max(1, steps // epochs)
        advice = f"more epochs; {plural(-(-FEW_STEPS // per_epoch), 'epoch')} would be {FEW_STEPS} steps or more"
        if config.batch_size > 8:
            advice = f"a smaller batch_size than {config.batch_size}, or {advice}"
        notes.append(Note(says=f"was trained for {plural(steps, 'step')} only", advice=advice))
    last = metrics["last_val_loss"]
    lowest = metrics["val_loss"]
    if best < epochs - 1 and last > RISE * lowest > 0 and last - lowest > LEAST_RISE:
        where = "the first epoch" if best == 0 else f"epoch {best + 1}"
        says = (
            f"was best after {where} of {epochs}, and its validation loss rose from {lowest:.3g} to {last:.3g} since: "
            "it learned its training images by heart, or its steps are too large"
        )
        notes.append(Note(says=says, advice="a lower lr, more views or images, a higher weight_decay, fewer epochs"))
    fell = 1 - lowest / metrics["previous_val_loss"] if metrics.get("previous_val_loss", 0) > 0 else 0.0
    if best == epochs - 1 == config.epochs - 1 and fell > STILL_FALLING:
        says = f"was still getting better in the last of its {epochs} epochs (by {fell:.0%})"
        notes.append(Note(says=says, advice="more epochs"))
    return notes


def diagnose_path(path: Sequence[Epoch], decays: Sequence[float], *, kept: bool = False) -> list[Note]:
    """Notes on a head that might be better beyond the weight decays that it was to be solved at.

    Args:
        path: what each came to, as far as it went.
        decays: those of the config.
        kept: they pulled towards a head that knew these labels, which may be as good as it was.
    """
    best = best_of(path)
    if len(path) > 1 and best is path[0] and not kept:
        at = f"the strongest weight decay of its head, {decays[0]:g}"
        says = f"is best at {at}: its features tell little of these labels"
        return [Note(says=says, advice="mode: lora or full, pretrained weights, more images")]
    before = path[-2].val_loss if len(path) == len(decays) > 1 else None
    if before and best is path[-1] and (best.val_loss or 0) < (1 - STILL_FALLING) * before:
        says = f"was still getting better at the weakest weight decay of its head, {decays[-1]:g}"
        return [Note(says=says, advice="weaker ones at the end of teacher.head.weight_decays, more of its max_steps")]
    return []


def diagnose_gain(rate: float, lower: float, upper: float) -> list[Note]:
    """A note where distillation hurt, significantly.

    ``rate`` is the accuracy of the distilled student minus that of the same student trained on labels alone, on the
    same images; ``lower`` and ``upper`` bound its paired interval.
    """
    if upper >= 0:
        return []
    says = f"lost {-100 * rate:.1f} points by distillation ({-100 * upper:.1f} to {-100 * lower:.1f})"
    advice = (
        "loss: labels, a higher label_weight, a better teacher (is it right more often than the student?), more epochs"
    )
    return [Note(says=says, advice=advice, serious=True)]


def diagnose_temperature(uncalibrated: str | None) -> list[Note]:
    """A note where no temperature fits best; ``uncalibrated`` is why, as ``models.calibration`` has it."""
    if uncalibrated is None:
        return []
    says = f"{uncalibrated}: left at 1; its probabilities are not calibrated"
    return [Note(says=says, advice="more validation images, hard ones among them")]


def diagnose(
    logits: NDArray[np.float32],
    targets: Floats,
    rule: DecisionRule,
    uncalibrated: str | None,
    training: str = TRAINING,
) -> list[Note]:
    """Notes on a model that was just trained; logits and targets [N, C] are of labeled validation images."""
    return [
        *diagnose_decisions(rule.probabilities(logits), targets, rule, "validation images", training),
        *diagnose_temperature(uncalibrated),
    ]


def say(name: str, notes: Sequence[Note]) -> None:
    """Print the notes on a model, the serious ones first."""
    for note in sorted(notes, key=lambda note: not note.serious):
        log.print(note.line(name), style="bold red" if note.serious else "yellow", soft_wrap=True)


def to_json(notes: Sequence[Note]) -> list[Json]:
    """As ``metrics.json`` has them under ``diagnosis``."""
    return [asdict(note) for note in notes]


def read_notes(path: Path) -> list[Note]:
    """The notes in a stage's ``metrics.json``; none where the model's folder was removed."""
    if not path.is_file():
        return []
    return [Note(**note) for note in json.loads(path.read_text(encoding="utf-8"))["diagnosis"]]


def _answer(decision: Any, rule: DecisionRule) -> str:
    """A decision in words: a label's name, or those of a set."""
    return " and ".join(rule.names(decision)) or "no label"


def _never_said(said: NDArray[Any], true: NDArray[Any], names: Sequence[str]) -> list[str]:
    if said.ndim == 1:
        said, true = (np.eye(len(names), dtype=bool)[decided] for decided in (said, true))
    missed = (true.sum(0) >= FEW_IMAGES) & ~said.any(0)
    return [
        f"{name} (true of {plural(int(count), 'image')})"
        for name, count, never in zip(names, true.sum(0), missed, strict=True)
        if never
    ]
