"""The page: a template filled with what ``content`` gives."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from run.figures import between, percent
from run.template import render
from verify.certificate import Certificate, Rate
from verify.evidence import Criterion, Share
from verify.report.content import Content, candidate_name, criteria_figures, latency_figure, model_figures
from verify.words import counted, figures, judged_for, missing, outcome, short_name, still_open, title, worth_a_line


def page(content: Content) -> str:
    """The HTML text: one file that loads nothing."""
    certificate = content.certificate
    names = sorted(certificate.models, key=lambda name: certificate.models[name].role != "student")
    values = {
        "content": content,
        "certificate": certificate,
        "models": {name: certificate.models[name] for name in names},
        "summaries": [_summary(certificate, name) for name in names if certificate.models[name].role == "student"],
        "open": {name: still_open(_deciding(certificate, name)) for name in names},
        "criteria": {name: [one for one in certificate.of(model=name) if worth_a_line(one)] for name in names},
        "criteria_figures": {name: list(criteria_figures(certificate, name)) for name in names},
        "model_figures": {name: list(model_figures(content, name)) for name in names},
        "latency": latency_figure(certificate),
        "judged": judged_for(certificate.look.number),
    }
    return render(Path(__file__).with_suffix(".html"), values, _FILTERS)


def change(criteria: Sequence[Criterion]) -> str:
    """The change that a criterion that did not pass would take; of several files, the first stands for all."""
    one = criteria[0]
    if one.verdict == "INCONCLUSIVE":
        return missing(one)
    return {
        "conversion": "leave this file out, or a milder quantization",
        "parity": "export again with the released weights",
        "dead label": "more images of the label, class_weighting, or name it in verify.accept",
        "finite": "another file: its scores are no numbers",
    }.get(one.name, "a better model: the images show the contrary, and more of them would not help")


def _deciding(certificate: Certificate, name: str) -> list[Criterion]:
    return [one for one in certificate.of(model=name) if one.tier != "reported"]


def _summary(certificate: Certificate, name: str) -> str:
    """A student in a sentence, for those who read no further."""
    facts = certificate.models[name]
    file = facts.reference
    teacher = certificate.models["teacher"].reference
    found = certificate.agreement(facts.file)
    assert found is not None, "a student has a criterion on its agreement"
    assert isinstance(found.evidence, Share)
    # The share that the bound is of, not that of all images: the two would not fit together.
    agrees = f"{percent(found.evidence.count / found.evidence.n)} of {found.evidence.n:,} test images{counted(found)}"
    least = (
        f", and on at least {percent(found.lower, 'at least')} of images like them" if found.lower is not None else ""
    )
    right = (
        f"It is right on {percent(file.accuracy.rate)}, the teacher on {percent(teacher.accuracy.rate)}; always saying "
        f"the most frequent answer would be right on {percent(certificate.test.majority.rate)}."
    )
    size = (
        f"It is {file.bytes / 1e6:.1f} MB instead of {teacher.bytes / 1e6:.1f} and takes {_ms(file.latency_ms.p50)} "
        f"instead of {_ms(teacher.latency_ms.p50)} for an image, on one thread of this machine."
    )
    return f"{name} decides as its teacher on {agrees}{least}. {right} {size}"


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _interval(rate: Rate) -> str:
    return between(rate.lower, rate.upper)


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "percent": _percent,
    "least": partial(percent, side="at least"),
    "interval": _interval,
    "ms": _ms,
    "short": short_name,
    "figures": figures,
    "title": title,
    "missing": missing,
    "outcome": outcome,
    "change": change,
    "candidate": candidate_name,
}
