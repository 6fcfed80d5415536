"""The update gate: an old release and the new one on the same test images, each file at its own thresholds.

All but ``compare_with`` is pure. Wins and losses are counted on one image of each group that has one true label.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from export.release import KINDS, Release, ReleasedFile, ReleasedModel
from models.decision import DecisionRule, Decisions
from run.console import console
from run.errors import UserError, plural
from run.figures import percent
from run.files import write_csv
from verify.certificate import Gain, Rate
from verify.criteria import DANGEROUS, Answers
from verify.measure import measured_rows, run_files
from verify.metrics import as_sets
from verify.predictions import PREDICTIONS, Predictions
from verify.statistics import PairedDifference, Proportion
from verify.table import named, truths
from verify.verify import Verification


@dataclass(frozen=True, kw_only=True)
class Update:
    """A file of the new release against the same kind of file of the old one."""

    file: str
    accuracy: Gain
    """Images that only the new file has right (gained), and only the old one (lost)."""
    negative_flips: Rate
    """Images that the old file has right and the new one wrong."""
    dangerous_flips: Mapping[str, Rate]
    """By label, or level of ordered labels: of the images where it is true and the old file says so, those that the new
    one misses; none where no label is the dangerous one."""
    recall: Mapping[str, Gain]
    """By label, of the images that have it. The labels share the risk of being wrong."""

    def regressions(self) -> Iterator[str]:
        """Figures that are shown to be worse, in words."""
        if self.accuracy.upper < 0:
            yield f"accuracy is lower by {_points(self.accuracy)}"
        for label, gain in self.recall.items():
            if gain.upper < 0:
                yield f"recall of {label!r} is lower by {_points(gain)}"
        for about, rate in self.dangerous_flips.items():
            if rate.lower > DANGEROUS:
                yield f"{about!r} is missed on {rate.count:,} of {rate.n:,} images that the old file finds"


@dataclass(frozen=True)
class Flip:
    """An image on which the two files decide otherwise. Only for this machine: it names the image."""

    uri: str
    file: str
    truth: str
    """Empty where votes tie."""
    old: str
    new: str


def update_of(file: str, answers: Answers, old: str, new: str, confidence: float) -> Update:
    """Compare what two files say.

    Args:
        answers: of both, on independent images.
        confidence: of each one-sided bound.
    """
    rule = answers.rule
    truth = answers.truth
    before = answers.said(old)
    after = answers.said(new)
    was = rule.same(truth, before)
    now = rule.same(truth, after)
    lost = Proportion(int((was & ~now).sum()), len(truth))
    labels = zip(rule.labels.names, *(as_sets(rule, one).T for one in (truth, before, after)), strict=True)
    shared = 1 - (1 - confidence) / len(rule.labels)
    return Update(
        file=file,
        accuracy=PairedDifference.of(now, was).with_bounds(confidence),
        negative_flips=lost.with_bounds(confidence),
        dangerous_flips=dict(_dangerous(answers, before, after, confidence)),
        recall={
            name: PairedDifference.of(ours[true], theirs[true]).with_bounds(shared)
            for name, true, theirs, ours in labels
        },
    )


def compare_with(asked: Verification, old: Path) -> tuple[list[Update], list[Flip]]:
    """Run an old release over the images of this run, and compare every kind of file that both have. May take hours.

    Args:
        asked: the new release, measured.
        old: the old release, or the folder of one of its models.

    Raises:
        UserError: it is no release, has no model in common with the new one, or was made for other labels.
    """
    pairs = list(_pairs(old, asked.models))
    ours = Predictions.read(asked.run.verify / PREDICTIONS)
    files = {f"old {new.name}": before for new, before in pairs}
    theirs = run_files(asked.run, asked.manifest, files, {name: file.digest for name, file in files.items()})
    both = ours.beside(theirs)
    # Rows of both are those that were measured, in their order.
    uris = measured_rows(asked.manifest).usable("test").column("uri")
    test = both.split("test")
    answers = Answers.of(test.one_per_group())
    confidence = asked.config.confidence
    updates = [update_of(new.name, answers, f"old {new.name}", new.name, confidence) for new, _ in pairs]
    flips = [flip for new, _ in pairs for flip in _flips(new.name, test, uris)]
    return updates, flips


def _pairs(old: Path, models: Sequence[ReleasedModel]) -> Iterator[tuple[ReleasedFile, ReleasedFile]]:
    """Each file of the new release that stands for a student, and the same kind of file of the old one."""
    folders = _onnx_folders(old)
    students = {model.onnx.name: model for model in models if model.role == "student"}
    if len(folders) == len(students) == 1:  # a student may have been renamed
        folders = dict(zip(students, folders.values(), strict=True))
    common = [name for name in students if name in folders]
    if not common:
        raise UserError(
            f"--against {old}: it has {', '.join(folders)}, and this run {', '.join(students)}: none is in both"
        )
    for name in common:
        for kind in KINDS.values():
            new = students[name].file(kind)
            before = ReleasedFile(folders[name], kind)
            if new.path.is_file() and before.path.is_file():
                yield new, before


def _onnx_folders(old: Path) -> dict[str, Path]:
    """The students' ONNX folders of a release, or the one that is meant by a model's folder, by their names."""
    beside = old.with_name(f"{old.name}-onnx")
    for folder in (old, beside):
        if any((folder / kind.path).is_file() for kind in KINDS.values()):
            return {folder.name: folder}
    found = {
        model.onnx.name: model.onnx for model in Release(old).models() if model.role == "student" and model.files()
    }
    if not found:
        raise UserError(f"--against {old}: no release: it holds no folder NAME-onnx with an ONNX file")
    return found


def _dangerous(answers: Answers, before: Decisions, after: Decisions, confidence: float) -> Iterator[tuple[str, Rate]]:
    if answers.rule.labels.kind == "nominal":
        return
    old = answers.questions(before)
    new = answers.questions(after)
    for about, true in answers.questions(answers.truth).items():
        missed = ~new[about][true & old[about]]
        yield about, Proportion(int(missed.sum()), len(missed)).with_bounds(confidence)


def _flips(file: str, test: Predictions, uris: Sequence[str]) -> Iterator[Flip]:
    decided = [test.decisions(name) for name in (f"old {file}", file)]
    old, new = (named(one, test.labels) for one in decided)
    true = truths(test)
    for row in np.flatnonzero(~DecisionRule.of(test.labels).same(*decided)).tolist():
        yield Flip(uris[row], file, true[row], old[row], new[row])


def _points(gain: Gain) -> str:
    return (
        f"{-100 * gain.rate:.1f} points (at least {-100 * gain.upper:.1f}; {gain.lost:,} lost, {gain.gained:,} gained)"
    )


def show_update(updates: Sequence[Update], flips: Sequence[Flip], path: Path) -> bool:
    """Print the comparison, and write the images on which the files differ; true where nothing regressed.

    Args:
        path: of the CSV; it names images, so it stays on this machine.
    """
    write_csv(path, [[field.name for field in fields(Flip)], *map(astuple, flips)])
    for update in updates:
        gain = update.accuracy
        console.print(
            f"{update.file} against the old release: {plural(gain.gained, 'win')}, "
            f"{plural(gain.lost, 'loss', 'losses')} on {plural(gain.n, 'image')}: {100 * gain.rate:+.1f} points "
            f"({100 * gain.lower:+.1f} to {100 * gain.upper:+.1f}; McNemar p {gain.mcnemar_p:.2g}); "
            f"right before and wrong now: at most {percent(update.negative_flips.upper, 'at most')}",
            soft_wrap=True,
        )
        for about, rate in update.dangerous_flips.items():
            if rate.count:
                console.print(f"  {about}: {rate.count:,} of {rate.n:,} that it found are missed now", soft_wrap=True)
        for line in update.regressions():
            console.print(f"  worse: {line}", style="red", soft_wrap=True)
    console.print(f"{plural(len(flips), 'decision')} changed: {path}", soft_wrap=True)
    return not any(any(update.regressions()) for update in updates)
