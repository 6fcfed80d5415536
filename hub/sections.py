"""The parts of a model card that people read, each as Markdown; empty where there is nothing to say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data.labels import THRESHOLD
from hub.snippets import onnx_snippet, predict_snippet, timm_snippet, transformers_js_snippet, transformers_snippet
from hub.subject import Subject
from models.outputs import activation, exclusive


def banner(subject: Subject, differences: Sequence[str]) -> str:
    """The warning at the top of a card whose certificate does not vouch for its files."""
    if differences:
        names = "\n".join(f"> * {difference}" for difference in differences)
        return f"> **Not verified.** These are not the files that were judged, so no results are given:\n{names}"
    if subject.certificate is None:
        return "> **Not verified.** Nothing was measured of these files."
    verdict = subject.certificate["verdict"]
    if verdict == "PASS":
        return ""
    reason = "a target was missed" if verdict == "FAIL" else "the test images do not settle it"
    return f"> **Not verified: the verdict is {verdict}**, because {reason}. See [the certificate](#certificate)."


def introduction(subject: Subject) -> str:
    """What it is, where it comes from, what it is for."""
    config, spec = subject.config, subject.spec
    trained = "fine-tuned" if subject.facts["pretrained"] else "trained"
    made = trained if subject.is_teacher else f"distilled from the teacher `{subject.teacher_repo}`"
    form = f"The ONNX export of `{subject.checkpoint_repo}`: an" if subject.is_onnx else "An"
    start = "pretrained weights" if subject.facts["pretrained"] else "random weights"
    text = (
        f"{form} image classifier with {len(subject.facts['labels']['names'])} labels, `{config['architecture']}` at "
        f"{spec.size} × {spec.size} pixels, {made} with PocketEVA, starting from {start}."
    )
    if not subject.is_onnx:
        text += f" Its export for ONNX Runtime and the browser is `{subject.onnx_repo}`."
    return "\n\n".join(part for part in (text, subject.hub.description.strip()) if part)


def labels(subject: Subject) -> str:
    """Names in the order of the outputs."""
    known = subject.labels
    about = {
        "nominal": "",
        "ordinal": " The labels are ordered: each is more severe than the one before it.",
        "multilabel": f" An image may have several, or none: each applies from a probability of {THRESHOLD} on.",
    }[known.kind]
    lines = "\n".join(f"{index}. {_code(name)}" for index, name in enumerate(known.names))
    return f"## Labels\n\nIn the order of the outputs.{about}\n\n{lines}"


def use(subject: Subject) -> str:
    """Code that loads the model."""
    private = "While the repository is private, log in first: `hf auth login`.\n\n" if subject.hub.private else ""
    return "## Use\n\n" + private + (_use_onnx(subject) if subject.is_onnx else _use_checkpoint(subject))


def _use_checkpoint(subject: Subject) -> str:
    timm = timm_snippet(subject.repo, subject.labels.kind)
    return f"With timm:\n\n{timm}\n\nWith transformers:\n\n{transformers_snippet(subject.repo)}"


def _use_onnx(subject: Subject) -> str:
    return f"""On the command line, with PocketEVA, which decodes and resizes as in training:

{predict_snippet(subject.repo)}

In Python, with ONNX Runtime and Pillow alone. Images with transparency or 16 bits a channel need the care that \
`pocketeva predict` takes: transparency laid over white, values scaled to 8 bits.

{onnx_snippet(subject.repo, subject.spec, subject.labels.kind)}

In JavaScript, with transformers.js. Its resize is not Pillow's, so its scores differ somewhat from those above; the \
results below were not measured with it.

{transformers_js_snippet(subject.repo, subject.labels.kind)}"""


def results(subject: Subject) -> str:
    """Metrics on the test split, with their uncertainty and what guessing would give."""
    if subject.certificate is None:
        return ""
    test, measured = subject.certificate["test"], subject.measured
    accuracy, most = measured["accuracy"], test["majority"]
    right = "Accuracy" if exclusive(subject.labels.kind) else "Accuracy: every label of the image right"
    where = "" if subject.is_onnx else f" They were measured on the export in `{subject.onnx_repo}`, same weights."
    rows = [
        (right, f"{_share(accuracy)}, {accuracy['confidence']:.0%} interval {_between(accuracy)}"),
        (f"Always answering {_answer(most)}", _share(most)),
        ("Macro F1", _number(measured["macro_f1"])),
        *_ordinal_rows(measured),
        *_agreement_rows(subject),
        ("ONNX file", f"{measured['bytes'] / 1e6:.1f} MB"),
        ("Latency, one thread of the CPU that verified it", _latency(measured["latency_ms"])),
    ]
    return f"""## Results

On {accuracy["n"]:,} test images that neither training nor calibration saw. The test split has {test["images"]:,} \
images; of every group of duplicates one was taken.{where}

{table(("", "value"), rows)}

{_per_class(measured["per_class"])}{_confusion(subject)}"""


def _answer(most: Mapping[str, Any]) -> str:
    """What is true most often."""
    named = [most["label"]] if "label" in most else most["labels"]
    return " and ".join(_code(name) for name in named) or "no label"


def _ordinal_rows(measured: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How far off ordered labels are, and on which side."""
    if "ordinal" not in measured:
        return []
    found = measured["ordinal"]
    rows = [
        (f"Called {steps} or more labels too {side}", f"{_share(share)}, interval {_between(share)}")
        for side, key in (("mild", "under_call"), ("severe", "over_call"))
        for steps, share in found[key].items()
    ]
    return [
        ("Quadratic weighted kappa", _number(found["quadratic_kappa"])),
        ("Mean error, in labels", _number(found["mean_absolute_error"])),
        *rows,
    ]


def _agreement_rows(subject: Subject) -> list[tuple[str, str]]:
    found = subject.criterion("agreement")
    if found is None:
        return []
    return [("Agreement with the exported teacher", f"{_share(found)}, {_at_least(found)}")]


def _per_class(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = ("precision", "recall", "f1")
    counts = "false alarms", "missed"
    cells = [
        (
            _code(row["label"]),
            f"{row.get('positives', row['n']):,}",
            *(_number(row[key]) for key in keys),
            *_errors(row),
        )
        for row in rows
    ]
    header = "label", "images", "precision", "recall", "F1", *(counts if "positives" in rows[0] else ())
    return "A dash means undefined: the label is not in the test split, or was never predicted.\n\n" + table(
        header, cells
    )


def _errors(row: Mapping[str, Any]) -> list[str]:
    """False alarms and misses of a label that applies or not by itself."""
    if "positives" not in row:
        return []
    negatives, false_alarms, missed, positives = row["confusion"]
    return [f"{false_alarms:,} of {negatives + false_alarms:,}", f"{missed:,} of {missed + positives:,}"]


def _confusion(subject: Subject) -> str:
    if "confusion" not in subject.measured:
        return ""
    named = [_code(name) for name in subject.labels.names]
    rows = [(name, *map(str, row)) for name, row in zip(named, subject.measured["confusion"], strict=True)]
    return "\n\nConfusion matrix, true labels down, predicted labels across:\n\n" + table(("", *named), rows)


def certificate(subject: Subject) -> str:
    """What was tested, how it came out, and what follows from it."""
    if subject.certificate is None:
        return ""
    own = [c for c in subject.certificate["criteria"] if c["model"] == subject.model]
    lines = "\n".join(f"* {_agreement(c) if c['name'] == 'agreement' else _parity(c)}" for c in own)
    beside = (
        "`certificate.json` in this repository" if subject.is_onnx else f"`certificate.json` in `{subject.onnx_repo}`"
    )
    agreement = (
        "" if subject.is_teacher else " Agreement is with the teacher, which can be wrong: see the accuracy for that."
    )
    return f"""## Certificate

Verdict for the whole release, teacher and students: **{subject.certificate["verdict"]}**. For this model:

{lines}

{beside} holds every figure and the SHA-256 of the files judged. It speaks of these files, in ONNX Runtime on a CPU \
where no other runtime is named, and of images drawn like the test split. It says nothing of other images, other files \
or other runtimes.{agreement}"""


def _agreement(criterion: Mapping[str, Any]) -> str:
    text = (
        f"Agreement of `{criterion['file']}`, **{criterion['verdict']}**: {criterion['statement']} on "
        f"{_share(criterion)} of test images; "
        f"{_at_least(criterion)}, target {_percent(criterion['target'])}."
    )
    if criterion["verdict"] != "INCONCLUSIVE":
        return text
    more = criterion["more_images"]
    return f"{text} " + (
        f"About {more:,} more test images would decide, at this rate."
        if more
        else "More images would not decide it, at this rate."
    )


def _parity(criterion: Mapping[str, Any]) -> str:
    return (
        f"Parity of `{criterion['file']}`, **{criterion['verdict']}**: {criterion['statement']}: "
        f"{criterion['largest']:.1e} over {criterion['n']:,} images, limit {criterion['target']:g}."
    )


def calibration(subject: Subject) -> str:
    """What the scores mean."""
    temperature = subject.facts["temperature"]
    return f"""## Scores

A temperature of {temperature:.3f} was fitted on the calibration split and divided into the weights of the last layer. \
The {activation(subject.labels.kind)} of the logits is the calibrated probability as it is; do not apply a temperature \
again."""


def limits(subject: Subject) -> str:
    """Where not to trust it."""
    standing = [
        "The results hold for images like those of the test split. Measure again on your own.",
        "The contract resizes in two bicubic passes, width first. Libraries that resize in one call, such as timm and "
        "transformers, follow Pillow, which from version 13 on goes height first for tall images: scores differ there.",
    ]
    if subject.is_onnx:
        standing.append(
            "Tested with ONNX Runtime on a CPU. Measure again before relying on another runtime. `rgb.onnx` is for "
            "ONNX Runtime on a CPU and in WASM. Other execution providers are known to resize differently (CUDA, "
            "OpenVINO, TensorRT: antialiasing): give those `onnx/model.onnx`, and prepare its pixels on the CPU."
        )
    if not subject.facts["pretrained"]:
        standing.append("The numbers are those of a small model trained from nothing: no pretrained weights were used.")
    own = subject.hub.limits.strip()
    return "\n\n".join(part for part in ("## Limits", own, "\n".join(f"* {line}" for line in standing)) if part)


def _share(found: Mapping[str, Any]) -> str:
    return f"{found['count']:,} of {found['n']:,} ({_percent(found['rate'])})"


def _between(found: Mapping[str, Any]) -> str:
    return f"{_percent(found['lower'])} to {_percent(found['upper'])}"


def _at_least(found: Mapping[str, Any]) -> str:
    """The one-sided bound that the verdict rests on."""
    return f"at least {_percent(found['lower'])} with {found['confidence']:.0%} confidence"


def _latency(latency: Mapping[str, float]) -> str:
    return f"{latency['p50']:.1f} ms median, {latency['p95']:.1f} ms at the 95th percentile"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _code(name: str) -> str:
    """A label name that Markdown leaves alone."""
    return "`" + " ".join(name.replace("`", "'").split()) + "`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = ["---", *("---:" for _ in header[1:])]
    lines = ([cell.replace("|", "\\|") for cell in cells] for cells in (header, rule, *rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
