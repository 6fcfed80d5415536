"""Figures and names as the templates of a card write them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from export.int8.result import FailedRow, Int8Result, Row
from export.oldest import oldest_runtime
from export.points.fit import FittedPoint
from run.errors import plural
from run.figures import percent
from run.text import code_span, markdown_table, plain_markdown
from verify.certificate import LabelFacts, Majority, Rate
from verify.evidence import Criterion, Share
from verify.words import counted, figures, judged_for, missing, outcome, short_name, still_open, worth_a_line


def one_line(text: str) -> str:
    """A paragraph or a row that a template has on several lines."""
    return " ".join(line.strip() for line in text.split("\n") if line.strip()) + "\n"


def share(found: Rate | Majority) -> str:
    """A count with its percentage."""
    return f"{found.count:,} of {found.n:,} ({percent(found.rate)})"


def interval(found: Rate) -> str:
    """Its bounds."""
    return f"{percent(found.lower, 'at least')} to {percent(found.upper, 'at most')}"


def agreed(criterion: Criterion) -> str:
    """The share of images that the bound of an agreement is of, and which images these are."""
    found = criterion.evidence
    assert isinstance(found, Share), "an agreement is counted"
    return f"{found.count:,} of {found.n:,} ({percent(criterion.value or 0)}){counted(criterion)}"


def number(value: float | None) -> str:
    """A figure between 0 and 1; a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"


def answer(majority: Majority) -> str:
    """The label that is true most often, or the labels."""
    return " and ".join(map(code_span, majority.labels)) or "no label"


def errors(row: LabelFacts) -> tuple[str, str]:
    """False alarms and misses of a label that applies or not by itself."""
    rejected, false_alarms, missed, found = row.confusion
    return f"{false_alarms:,} of {rejected + false_alarms:,}", f"{missed:,} of {missed + found:,}"


def promise(point: FittedPoint) -> str:
    """What an operating point promises."""
    promised = (
        f"recall of at least {100 * point.recall:g}%" if point.recall else "",
        f"false alarms of at most {100 * point.fpr:g}%" if point.fpr else "",
    )
    useless = "; provable and useless" if point.useless else ""
    return f"{' and '.join(filter(None, promised))} with {percent(point.confidence, 'at least')} confidence{useless}"


def about(criterion: Criterion) -> str:
    """What a criterion is about, behind its name."""
    return f" of {code_span(criterion.about)}" if criterion.about else ""


def criteria(found: Iterable[Criterion]) -> str:
    """A line for each criterion; files of which it says the same share one."""
    files: dict[str, list[str]] = {}
    for one in filter(worth_a_line, found):
        verdict = "PASS" if one.verdict == "PASS" else outcome(one)
        more = f"; {missing(one)}" if one.verdict == "INCONCLUSIVE" else ""
        claim = f"{plain_markdown(one.statement)}{counted(one)}: {plain_markdown(figures(one))}{more}"
        text = f"* **{verdict}**, {one.name}{about(one)}: {claim}"
        files.setdefault(text, []).append(short_name(one.file))
    return "\n".join(f"{text} ({', '.join(names)})" for text, names in files.items())


def candidates(int8: Int8Result) -> str:
    """The table of the INT8 candidates, beside float32."""
    assert int8.fp32 is not None
    head = ("method", "per channel", "activations", "in fp32", "accuracy", "flips", "ms", "MB", "why not")
    fp32 = ("float32", "", "", "", _accuracy(int8.fp32.accuracy), "", "", f"{int8.fp32.bytes / 1e6:.1f}", "")
    return markdown_table(head, [fp32, *map(_candidate, int8.candidates)])


def _candidate(row: Row | FailedRow) -> tuple[str, ...]:
    settings = (row.method, "yes" if row.per_channel else "no", row.activation, str(len(row.excluded) or ""))
    if isinstance(row, FailedRow):
        return (*settings, "", "", "", "", row.why_not)
    return (
        *settings,
        _accuracy(row.accuracy),
        f"{row.flips} of {row.n} (up to {percent(row.most_flips, 'at most', 2)})",
        "" if row.ms is None else f"{row.ms:.2f}",
        f"{row.bytes / 1e6:.1f}",
        row.why_not or "",
    )


def _accuracy(rate: float | None) -> str:
    return "" if rate is None else percent(rate)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "about": about,
    "agreed": agreed,
    "answer": answer,
    "candidates": candidates,
    "cell": lambda text: text.replace("|", "\\|"),
    "code": code_span,
    "criteria": criteria,
    "errors": errors,
    "fmt": format,
    "interval": interval,
    "judged_for": judged_for,
    "missing": missing,
    "number": number,
    "oldest_runtime": oldest_runtime,
    "one_line": one_line,
    "percent": percent,
    "plain": plain_markdown,
    "plural": plural,
    "promise": promise,
    "share": share,
    "still_open": still_open,
}
"""By the name in the templates: ``fmt`` is Python's own ``format``, ``cell`` lets a table's cell hold a ``|``."""
