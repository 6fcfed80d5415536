"""The table that a run ends with."""

from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from export.release import INT8, RGB, TEACHER, Release
from fitting.diagnosis import diagnose_gain, say
from models.decision import DecisionRule
from run.console import console, show_table
from run.errors import plural
from run.figures import between, percent
from verify.certificate import BaselineFacts, Certificate, FileFacts, ModelFacts, Rate, SplitFacts
from verify.evidence import Criterion, Verdict
from verify.words import judged_for, line, outcome, short_name, still_open

COLORS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def show(certificate: Certificate, release: Path) -> None:
    """Print what the certificate says, and where the files are."""
    console.print(f"{certificate.name}: {certificate.test.groups:,} test images")
    for about in _about_images(certificate.test):
        console.print(about, soft_wrap=True)
    for name, facts in certificate.models.items():
        show_table(_table(name, facts, certificate))
        if facts.baseline:
            console.print(_gain(facts.baseline))
            gain = facts.baseline.gain
            say(name, diagnose_gain(gain.rate, gain.lower, gain.upper))
    _explain(certificate, release)


def _about_images(test: SplitFacts) -> Iterator[str]:
    if test.tied:
        yield (
            f"{test.tied:,} of {test.groups:,} test images have no single true label (their votes tie): they count for "
            "agreement, not for 'right' or 'too mild'"
        )
    if test.clusters < test.groups or test.near_training:
        yield (
            f"near-duplicates: {test.groups:,} test images lie in {test.clusters:,} clusters, and "
            f"{test.near_training:,} are nearly the same as a training image; each criterion is counted with them and "
            "without, and the stricter count decides"
        )


def _table(name: str, facts: ModelFacts, certificate: Certificate) -> Table:
    """A column for each file, so that whole words and all figures fit into 60 characters."""
    narrow = (0, 1, 0, 0)
    table = Table(title=name, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=narrow)
    table.add_column("", no_wrap=True)
    for file in facts.files:
        table.add_column(short_name(file), justify="right", no_wrap=True)
    columns = [
        _cells(found, certificate.agreement(file), certificate.parity(file)) for file, found in facts.files.items()
    ]
    for head in columns[0]:
        table.add_row(head, *(cells[head] for cells in columns))
    return table


def _cells(found: FileFacts, agreement: Criterion | None, parity: Criterion | None) -> dict[str, str | Text]:
    accuracy = found.accuracy
    under = _worst_under_call(found)
    at_least = _colored(percent(agreement.lower or 0, "at least"), agreement.verdict) if agreement else ""
    median, slowest = (f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" for ms in (found.latency_ms.p50, found.latency_ms.p95))
    return {
        "accuracy": percent(accuracy.rate),
        "  interval": between(accuracy.lower, accuracy.upper),
        **({"too mild": percent(under[1].rate)} if under else {}),
        "agrees": percent(agreement.value or 0) if agreement else "",
        "  at least": at_least,
        "parity": _colored(f"{parity.value or 0:.0e}", parity.verdict) if parity else "",
        "MB": f"{found.bytes / 1e6:.1f}",
        "ms, median": median,
        "  95 %": slowest,
    }


def _worst_under_call(found: FileFacts) -> tuple[int, Rate] | None:
    """The headline of ordered labels: how often a file is too mild by the most steps that are counted."""
    return max(found.ordinal.under_call.items()) if found.ordinal else None


def _gain(baseline: BaselineFacts) -> str:
    gain = baseline.gain
    return (
        f"trained on labels alone: {percent(baseline.accuracy.rate)}; distillation added {100 * gain.rate:+.1f} points "
        f"({100 * gain.lower:+.1f} to {100 * gain.upper:+.1f}; McNemar p {gain.mcnemar_p:.2g})\n"
    )


def _explain(certificate: Certificate, release: Path) -> None:
    rule = DecisionRule.of(certificate.labels)
    majority = certificate.test.majority
    under = _worst_under_call(certificate.models["teacher"].reference)
    agreements = certificate.of(name="agreement")
    look = certificate.look
    console.print(
        f"accuracy: {'' if rule.exclusive else 'every label right, '}with {certificate.confidence:.0%} interval; "
        f"always saying {', '.join(majority.labels) or 'none'!r} would be right on {percent(majority.rate)}\n"
        + (f"too mild: by {plural(under[0], 'label')} or more\n" if under else "")
        + f"agrees: {agreements[0].statement}, at least by the exact one-sided "
        f"{look.confidence:.1%} bound, target {agreements[0].limit:.0%}\n"
        "parity: largest difference of a logit from PyTorch, as a share of the logits' spread\n"
        "ms: one image on one thread\n"
        f"The test images are {judged_for(look.number)}: each criterion holds with "
        f"{look.confidence:.1%} confidence.\n"
    )
    for name, facts in certificate.models.items():
        console.print(f"{name}:", _colored(facts.verdict, facts.verdict))
        for criteria in still_open(certificate.of(model=name)):
            others = f" (and {plural(len(criteria) - 1, 'other file')})" if len(criteria) > 1 else ""
            console.print(f"  {outcome(criteria[0])}: {line(criteria[0])}{others}", soft_wrap=True)
    console.print("verdict:", _colored(certificate.verdict, certificate.verdict), style="bold")
    console.print(f"files: {release}")
    for name, facts in certificate.models.items():
        if name != TEACHER and facts.verdict == "PASS":
            model = Release(release).model(name)
            inside = (
                "INT8 inside" if model.file(INT8).name in facts.files else "float32 inside, as there is no INT8 file"
            )
            console.print(
                f"to ship: {model.file(RGB).path}, which takes decoded pixels of any size ({inside})",
                soft_wrap=True,
            )


def _colored(text: str, verdict: Verdict) -> Text:
    return Text(text, style=COLORS[verdict])
