"""The part of an ONNX card that says what each file decides, where that is not simply the likeliest label."""

from export.points.fit import FittedPoint
from export.points.record import ThresholdsRecord
from run.figures import percent
from run.text import code_span, markdown_table


def decisions(record: ThresholdsRecord | None) -> str:
    """Thresholds and operating points of every file.

    Args:
        record: ``thresholds.json``; null in a release of before version 0.2.
    """
    if record is None:
        return ""
    rule = next(iter(record.files.values())).rule
    if rule.method != "levels" and not rule.points:
        return ""
    rows = [
        (code_span(name), code_span(point.name), f"{point.threshold:.6g}", *_promise(point))
        for name, found in record.files.items()
        for point in found.points
    ]
    head = ("file", "flags", "from a score of", "recall", "false alarms", "promised")
    shown = f"\n\n{markdown_table(head, rows)}\n\n{_ABOUT}" if rows else ""
    decided = {
        "levels": "the most severe level whose score (the probability of this label or a more severe one) reaches its "
        "threshold",
        "argmax": "the likeliest of the labels that a point flags, or else of those without a point",
        "threshold": "every label whose probability reaches its threshold",
    }[rule.method]
    return f"""## Decision

The answer is {decided}. `rgb.onnx` gives it as `decision`; `thresholds.json` and the metadata of every file hold its \
thresholds; the code above gives scores only.{shown}"""


_ABOUT = """Recall and false alarms are of the calibration images that a threshold was chosen on. The promise \
holds for images drawn like these, for all points of a file together."""


def _promise(point: FittedPoint) -> tuple[str, str, str]:
    promised = (
        f"recall of at least {100 * point.recall:g}%" if point.recall else "",
        f"false alarms of at most {100 * point.fpr:g}%" if point.fpr else "",
    )
    useless = "; provable and useless" if point.useless else ""
    return (
        f"{point.positives - point.missed:,} of {point.positives:,}",
        f"{point.flagged:,} of {point.negatives:,}",
        f"{' and '.join(filter(None, promised))} with {percent(point.confidence, 'at least')} confidence{useless}",
    )
