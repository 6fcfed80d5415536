"""The page: a template filled with what ``content`` gives."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from run.figures import between, percent
from run.template import render
from verify.certificate import Rate
from verify.evidence import Criterion
from verify.report.content import Content, candidate_name, criteria_figures, latency_figure, model_figures
from verify.verdicts import verdict_to_come
from verify.words import counted, figures, judged_for, missing, outcome, short_name, still_open, title, worth_a_line


def page(content: Content) -> str:
    """The HTML text: one file that loads nothing."""
    certificate = content.certificate
    names = sorted(certificate.models, key=lambda name: certificate.models[name].role != "student")
    values = {
        "content": content,
        "certificate": certificate,
        "models": {name: certificate.models[name] for name in names},
        "open": {
            name: still_open([one for one in certificate.of(model=name) if one.tier != "reported"]) for name in names
        },
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
        better = "" if one.more_images is None or verdict_to_come(one) == "PASS" else "a better model: "
        return f"{better}{missing(one)}"
    return {
        "conversion": "leave this file out, or a milder quantization",
        "parity": "export again with the released weights",
        "dead label": "more images of the label, class_weighting, or name it in verify.accept",
        "finite": "another file: its scores are no numbers",
    }.get(one.name, "a better model: the images show the contrary, and more of them would not help")


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
    "counted": counted,
    "title": title,
    "missing": missing,
    "outcome": outcome,
    "change": change,
    "candidate": candidate_name,
}
