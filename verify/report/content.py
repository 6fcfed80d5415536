"""The content of the report: everything that is known of a verified run, and its figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from data.audit import Audit
from export.int8.result import FailedRow, Int8Result, Row
from fitting.history import Epoch
from models.decision import DecisionRule
from verify.certificate import Certificate, ModelFacts
from verify.evidence import Criterion, Direction, Pairs, Verdict
from verify.predictions import Predictions
from verify.report.canvas import ON_WHITE, plain
from verify.report.charts import diverging, matrix, operating, reliability, training
from verify.report.curves import names_of, operating_curve
from verify.report.intervals import Interval, against_limit, bars, shares
from verify.seal import MOST_IN_PICTURE, PICTURES
from verify.statistics import Proportion
from verify.verdicts import images
from verify.words import figures, short_name, worth_a_line

CONFUSION, RELIABILITY = PICTURES
MOST_CURVES = 6
"""Labels or levels whose recall is drawn over false alarms: those with a point first."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A test image on which a student and its teacher differ."""

    source: str
    """A small copy, as an address that holds it."""
    lines: Sequence[tuple[str, str]]
    """Who says it, and what."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """A verified run."""

    certificate: Certificate
    predictions: Predictions
    audit: Audit | None
    curves: Mapping[str, Mapping[str, Sequence[Epoch]]]
    """By model and fit."""
    sweeps: Mapping[str, Int8Result]
    """By model."""
    provenance: Sequence[tuple[str, str]]
    """Name and value."""
    pictures: Mapping[str, Sequence[Picture]]
    """By student, the worst disagreements; empty where none are asked for."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart with the words around it."""

    title: str
    caption: str
    chart: Markup


_TITLES = {
    "agreement": "Agreement with the teacher",
    "conversion": "Decisions changed by conversion",
    "recall": "Recall against the teacher's",
    "dangerous flips": "Dangerous flips",
    "slice": "Agreement on slices",
    "likelihood": "Likelihood against the prior's",
    "operating point": "Promises of operating points",
}
_UNITS = {"share": ("% of images", 100.0), "pairs": ("points", 100.0), "mean": ("nats", 1.0)}


def criteria_figures(certificate: Certificate, model: str) -> Iterator[Figure]:
    """Bound against limit: a chart for each kind of criterion that has bounds."""
    groups: dict[tuple[str, Direction, float], list[Criterion]] = {}
    for one in certificate.of(model=model):
        if one.lower is not None and worth_a_line(one) and images(one.evidence):
            groups.setdefault((one.name, one.side, one.limit), []).append(one)
    for (name, side, limit), criteria in groups.items():
        unit, factor = _UNITS[criteria[0].evidence.kind]
        rows = [_criterion_row(one) for one in criteria]
        needed = f"{factor * limit:.3g} {unit.split()[0]}".replace("-", "−")
        caption = f"{criteria[0].statement}: {side} {needed}"
        title = _TITLES[name]
        chart = against_limit(f"{title}: {caption}", rows, unit, limit, side, factor).svg()
        yield Figure(title=title, caption=caption, chart=chart)


def _criterion_row(one: Criterion) -> Interval:
    assert one.lower is not None and one.upper is not None  # noqa: PT018 - both or none
    name = " · ".join([short_name(one.file), *([one.about] if one.about else [])])
    found = one.evidence
    pairs = f"+{found.gained:,} −{found.lost:,} of {found.n:,}" if isinstance(found, Pairs) else ""
    said = pairs or figures(one).split(",")[0].split(" (")[0]
    return Interval(name=name, figures=said, value=one.value, lower=one.lower, upper=one.upper, verdict=one.verdict)


def model_figures(content: Content, name: str) -> Iterator[Figure]:
    """All charts of one model but those of its criteria."""
    certificate = content.certificate
    facts = certificate.models[name]
    labels = certificate.labels
    if facts.confusion is not None and len(labels) <= MOST_IN_PICTURE:
        chart = matrix(f"confusion of {name}", facts.confusion, labels.names, ("true", "said"), shares=True)
        images_told = f"{facts.reference.accuracy.n:,} test images"
        caption = f"the {short_name(facts.file)} file on {images_told}; shares of each true label"
        yield Figure(title="Confusion", caption=caption, chart=chart.svg())
    yield from _label_figures(facts, certificate.confidence)
    if facts.role == "student":
        yield from _flip_figures(facts, labels.names)
    yield from _reliability_figures(certificate, name)
    yield from _operating_figures(content, facts)
    yield from _slice_figures(certificate, name)
    if name in content.sweeps:
        yield from _sweep_figures(content.sweeps[name])
    for fit, epochs in content.curves.get(name, {}).items():
        part = {"": "", "full": "of all layers, "}.get(fit, f"of {fit}, ")
        caption = f"the fit {part}over {len(epochs)} epochs"
        if epochs[0].weight_decay is not None:
            caption = f"the head, at {len(epochs)} weight decays from strong to weak"
        yield Figure(title="Training", caption=caption, chart=training(f"training of {name}", epochs).svg())


def card_pictures(facts: ModelFacts, names: Sequence[str], confidence: float) -> dict[str, bytes]:
    """PNG files for a model's card by their name, in the order of the card; none of a multilabel set."""
    if facts.confusion is None:
        return {}
    sheets = {RELIABILITY: reliability("reliability", facts.reliability[0].bins, confidence, ON_WHITE)}
    if len(names) <= MOST_IN_PICTURE:
        sides = ("true", "said")
        sheets[CONFUSION] = matrix("confusion", facts.confusion, names, sides, shares=True, colors=ON_WHITE)
    return {name: sheets[name].png() for name in PICTURES if name in sheets}


def latency_figure(certificate: Certificate) -> Figure:
    """Milliseconds of every file."""
    files = [
        (f"{name} · {short_name(file)}", facts)
        for name, model in certificate.models.items()
        for file, facts in model.files.items()
    ]
    rows = [
        (name, f"{one.latency_ms.p50:.1f} ms · {one.bytes / 1e6:.1f} MB", one.latency_ms.p50, one.latency_ms.p95)
        for name, one in files
    ]
    threads = sorted({one.latency_ms.threads for _, one in files})
    processors = " or ".join(sorted({one.latency_ms.processor or "the CPU that verified it" for _, one in files}))
    where = f"{' or '.join(map(str, threads))} thread of {processors}"
    caption = f"one image at a time, {where}; bar: median, whisker: 95 % of runs"
    return Figure(title="Latency", caption=caption, chart=bars("latency of every file", rows, "milliseconds").svg())


def _label_figures(facts: ModelFacts, confidence: float) -> Iterator[Figure]:
    rows = [
        Interval.of(row.label, Proportion(row.confusion[3], row.positives).with_interval(confidence))
        for row in facts.per_label
    ]
    chart = shares("recall of each label", rows, "% of the images of the label").svg()
    yield Figure(title="Recall by label", caption=f"{confidence:.0%} intervals, each by itself", chart=chart)
    if facts.role == "student":
        rows = [Interval.of(name, rate) for name, rate in facts.reference.agreement_by_label.items() if rate.n]
        where = "where the teacher says the label" if facts.confusion is not None else "on each label"
        chart = shares(f"agreement {where}", rows, "% of the images").svg()
        yield Figure(title="Agreement by label", caption=f"{where}; {confidence:.0%} intervals", chart=chart)


def _flip_figures(facts: ModelFacts, names: Sequence[str]) -> Iterator[Figure]:
    file = facts.reference
    if facts.confusion is None or not file.flips:
        return
    total = sum(flip.count for flip in file.flips)
    if len(names) <= MOST_IN_PICTURE:
        counts = [[0] * len(names) for _ in names]
        for flip in file.flips:
            counts[names.index(flip.teacher)][names.index(flip.file)] += flip.count
        chart = matrix("student by teacher", counts, names, ("teacher", "student"), shares=False).svg()
        caption = f"{total:,} images on which the two say different things, of {file.accuracy.n:,}"
        yield Figure(title="Flips, teacher × student", caption=caption, chart=chart)
    if file.sides:
        milder, severer = (sum(getattr(side, name) for side in file.sides) for name in ("milder", "severer"))
        caption = f"{milder:,} milder than the teacher, {severer:,} more severe"
        chart = diverging("flips by side", file.sides).svg()
        yield Figure(title="Flips by truth and side", caption=caption, chart=chart)


def _reliability_figures(certificate: Certificate, name: str) -> Iterator[Figure]:
    facts = certificate.models[name]
    noise = {one.about: one for one in certificate.of(file=facts.file, name="calibration")}
    for found in facts.reliability[:MOST_CURVES]:
        about = f" of {plain(found.about)}" if found.about else ""
        chart = reliability(f"reliability of {name}{about}", found.bins, certificate.confidence).svg()
        judged = noise.get(found.about)
        caption = f"calibration error {figures(judged)}" if judged else ""
        yield Figure(title=f"Reliability{about}", caption=caption, chart=chart)


def _operating_figures(content: Content, facts: ModelFacts) -> Iterator[Figure]:
    points = facts.reference.points
    rule = DecisionRule.of(content.certificate.labels)
    chosen = list(dict.fromkeys([*(point.name for point in points), *names_of(rule)]))
    confidence = content.certificate.confidence
    for name in chosen[:MOST_CURVES]:
        curve = operating_curve(content.predictions, facts.file, name, confidence)
        if curve is not None:
            own = [point for point in points if point.name == name]
            level = " or worse" if rule.labels.kind == "ordinal" and rule.labels.names[-1] != name else ""
            caption = (
                f"{curve.positives:,} of it and {curve.negatives:,} others on test; shaded: what {curve.calibration:,} "
                f"calibration images can promise, each with {confidence:.0%} confidence"
            )
            chart = operating(curve, own, f"recall over false alarms of {name}").svg()
            yield Figure(title=f"Flagging {plain(name)}{level}", caption=caption, chart=chart)


def _slice_figures(certificate: Certificate, name: str) -> Iterator[Figure]:
    facts = certificate.models[name]
    judged: dict[str | None, Verdict] = {
        one.about: one.verdict for one in certificate.of(file=facts.file, name="slice") if one.tier != "reported"
    }
    parts = facts.reference.slices
    if not parts:
        return
    student = facts.role == "student"
    rows = []
    for part in parts:
        rate = part.agreement if student else part.accuracy
        if rate is not None:
            small = "" if part.judged else " (too few to judge)"
            rows.append(Interval.of(f"{part.name}{small}", rate, judged.get(part.name) if student else None))
    what = "agreement with the teacher" if student else "accuracy"
    chart = shares(f"{what} by slice", rows, "% of the slice's images").svg()
    caption = f"{what} on parts of the test images; {certificate.confidence:.0%} intervals, each by itself"
    yield Figure(title="Slices", caption=caption, chart=chart)


def _sweep_figures(sweep: Int8Result) -> Iterator[Figure]:
    measured = [row for row in sweep.candidates if isinstance(row, Row)]
    if not measured:
        return
    rows = [
        Interval(
            name=f"{'★ ' if sweep.winner and row.candidate == sweep.winner.candidate else ''}{candidate_name(row)}",
            figures=f"{row.flips:,} of {row.n:,}{_speed(row)}",
            value=row.flips / row.n,
            lower=0.0,
            upper=row.most_flips,
            verdict="PASS" if row.why_not is None else "FAIL",
        )
        for row in measured
    ]
    unit = "% of decisions that float32 would make differently"
    chart = against_limit("INT8 candidates", rows, unit, sweep.gate.max_flip_rate, "at most").svg()
    yield Figure(title="INT8 against float32", caption=sweep.reason, chart=chart)


def candidate_name(row: Row | FailedRow) -> str:
    """Settings of an INT8 candidate in words."""
    scales = "a scale per channel" if row.per_channel else "a scale per tensor"
    left = f", {len(row.excluded)} nodes in float32" if row.excluded else ""
    return f"{row.method}, {scales}, {row.activation}{left}"


def _speed(row: Row) -> str:
    return f" · {row.fp32_ms / row.ms:.1f}×" if row.fp32_ms and row.ms else ""
