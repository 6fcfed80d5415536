"""Figures that somebody published of a model: from our certificate, from the model index of a card, or by hand."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.labels import LabelSet
from hub.front_matter import CARD, front_matter
from run.errors import UserError, quoted
from verify.certificate import Certificate, FileFacts

AVERAGES = ("macro", "micro", "weighted")
BY_LABEL = ("recall", "precision", "binary")
"""Metrics of one label, as in ``recall:broken``. ``binary``: images of the label of which the model rightly says that
they are the first label, or that they are any other, as cards of content filters count."""
KNOWN = (
    f"accuracy, f1, precision or recall ({', '.join(AVERAGES)}), and {', '.join(f'{name}:LABEL' for name in BY_LABEL)}"
)
_MOST = 200
"""Figures of a card that are read."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published figure, as a share."""

    file: str
    """Path of an ONNX file below its model's folder; empty for a checkpoint."""
    metric: str
    """``accuracy``, or with an average or a label: ``macro f1``, ``recall:broken``."""
    value: float
    lower: float | None = None
    upper: float | None = None
    """Of its interval, where one was published."""
    about: str = ""
    """The data it was measured on, as its author calls it."""


@dataclass(frozen=True)
class Claims:
    """Everything that was published of a model."""

    read: tuple[Claim, ...]
    passed_over: tuple[str, ...] = ()
    """Figures that are no metric that is known here."""


def of_certificate(certificate: Certificate, file: str, name: str) -> list[Claim]:
    """The figures of a file by itself in a certificate: agreement would take the teacher as well.

    Args:
        file: its name in the certificate.
        name: of the file for people.
    """
    facts: FileFacts = next(model.files[file] for model in certificate.models.values() if file in model.files)
    accuracy = facts.accuracy
    about = f"{certificate.name}, test split"
    claims = [
        Claim(
            file=name,
            metric="accuracy",
            value=accuracy.rate,
            lower=accuracy.lower,
            upper=accuracy.upper,
            about=about,
        )
    ]
    if facts.macro_f1 is not None:
        claims.append(Claim(file=name, metric="macro f1", value=facts.macro_f1, about=about))
    return claims


def of_card(folder: Path, labels: LabelSet) -> Claims:
    """The model index of a card.

    Raises:
        UserError: there is no card, no model index, or no figure in it that is known here.
    """
    card = folder / CARD
    figures = list(_figures(front_matter(card)))[:_MOST]
    if not figures:
        raise UserError(
            f"{quoted(card)} has no model-index, so it publishes no figure that a program can read: give those of its "
            f"text, as in --published accuracy=98.5. Known are {KNOWN}"
        )
    read = []
    over = []
    for metric, value, about in figures:
        share = _share(value)
        known = _metric(metric, labels)
        if known is None or share is None:
            over.append(f"{' '.join(metric.split())[:60]} {str(value)[:20]}")
        else:
            read.append(Claim(file="", metric=known, value=share, about=about))
    if not read:
        raise UserError(f"{quoted(card)} has no figure that is known here: {'; '.join(over)}. Known are {KNOWN}")
    return Claims(tuple(read), tuple(over))


def by_hand(given: Sequence[str], labels: LabelSet) -> Claims:
    """Figures such as ``accuracy=98.5``, in percent, or as a share up to 1.

    Raises:
        UserError: one is no figure.
    """
    claims = []
    for text in given:
        name, _, value = text.rpartition("=")
        metric = _metric(name, labels)
        share = _share(value)
        if metric is None or share is None:
            raise UserError(f"--published {text}: expected METRIC=VALUE, as in accuracy=98.5. Known are {KNOWN}")
        claims.append(Claim(file="", metric=metric, value=share, about="--published"))
    return Claims(tuple(claims))


def _figures(entries: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    """Metric, value and data set of each figure; what is not as the Hub asks for it is passed over."""
    for model in _mappings(entries.get("model-index")):
        for result in _mappings(model.get("results")):
            data = result.get("dataset")
            about = str(data.get("name") or "")[:60] if isinstance(data, Mapping) else ""
            for metric in _mappings(result.get("metrics")):
                kind = str(metric.get("type") or "")
                name = str(metric.get("name") or "")
                args = metric.get("args")
                average = str(args.get("average") or "") if isinstance(args, Mapping) else ""
                yield f"{kind} {name} {average}", metric.get("value"), about


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value[:_MOST] if isinstance(one, Mapping)] if isinstance(value, list) else []


def _metric(text: str, labels: LabelSet) -> str | None:
    """The metric that a name means; null where it is none that is known."""
    name, mark, label = text.strip().partition(":")
    if mark:
        found = match_names((label,), labels.names)
        return f"{name.lower()}:{labels.names[found[0]]}" if name.lower() in BY_LABEL and found else None
    words = re.findall(r"[a-z0-9]+", text.lower().replace("top-1", "top1").replace("f1-score", "f1"))
    if "agreement" in words or "top5" in words or "5" in words:
        return None
    average = next((one for one in AVERAGES if one in words), "macro")
    for kind in ("f1", "precision", "recall"):
        if kind in words:
            return f"{average} {kind}"
    return "accuracy" if {"accuracy", "acc", "top1"} & set(words) and not {"balanced"} & set(words) else None


def _share(value: object) -> float | None:
    """A figure as a share; numbers above 1 are percent."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    share = number / 100 if text.endswith("%") or number > 1 else number
    return share if 0 <= share <= 1 else None


def match_names(ours: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """Place among their names of each of ours, but for case and spaces; null where that is not one each."""
    folded = [" ".join(name.replace("_", " ").split()).casefold() for name in theirs]
    wanted = [" ".join(name.replace("_", " ").split()).casefold() for name in ours]
    if any(folded.count(name) != 1 for name in wanted) or len(set(wanted)) < len(wanted):
        return None
    return [folded.index(name) for name in wanted]
