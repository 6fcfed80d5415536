"""The parts of a model card that people read, each as Markdown; empty where there is nothing to say."""

from collections.abc import Sequence

from export.page.write import INDEX
from export.parity_record import ParityRecord
from export.release import FP16, INT8, TEACHER
from hub.snippets import (
    onnx_snippet,
    page_snippet,
    predict_snippet,
    rgb_js_snippet,
    rgb_snippet,
    timm_snippet,
    transformers_js_snippet,
    transformers_snippet,
)
from hub.subject import Subject
from models.spec import InputSpec
from run.errors import plural
from run.figures import percent
from run.text import code_span, markdown_table, plain_markdown
from verify.certificate import Certificate, FileFacts, LabelFacts, Majority, Rate
from verify.evidence import Criterion
from verify.seal import MOST_IN_PICTURE, PICTURES


def banner(subject: Subject, differences: Sequence[str]) -> str:
    """The warning at the top of a card: the certificate does not vouch for the files, or labels are never said."""
    if differences:
        names = "\n".join(f"> * {difference}" for difference in differences)
        return f"> **Not verified.** The certificate does not hold for these files, so no results are given:\n{names}"
    if subject.certificate is None:
        return "> **Not verified.** Nothing was measured of these files."
    verdict = subject.certificate.verdict
    reason = "a criterion failed" if verdict == "FAIL" else "the test images do not settle it"
    unverified = (
        f"> **Not verified: the verdict is {verdict}**, because {reason}. See [the certificate](#certificate)."
        if verdict != "PASS"
        else ""
    )
    return "\n>\n".join(part for part in (unverified, _accepted(subject, subject.certificate)) if part)


def _accepted(subject: Subject, certificate: Certificate) -> str:
    """Labels that the author let through although a file never says them."""
    rows = {row.label: row for row in subject.measured.per_label}
    dead = [rows[name] for name in certificate.accepted if not sum(rows[name].confusion[1::2])]
    said = [f"{code_span(row.label)} (true on {row.positives:,} of {sum(row.confusion):,} test images)" for row in dead]
    return f"> **This model never says {' or '.join(said)}**, as its author accepted." if said else ""


def introduction(subject: Subject) -> str:
    """The model, its origin and its purpose."""
    facts = subject.facts
    size = subject.spec.size
    trained = "fine-tuned" if facts.pretrained else "trained"
    teacher = (
        f"the teacher `{subject.teacher_repo}`" if subject.hub.publishes(TEACHER) else "a teacher that is not published"
    )
    made = trained if subject.is_teacher else f"distilled from {teacher}"
    form = f"The ONNX export of `{subject.checkpoint_repo}`: an" if subject.is_onnx else "An"
    start = "pretrained weights" if facts.pretrained else "random weights"
    base, pinned, revision = facts.base_model.removeprefix("hf-hub:").partition("@")
    if facts.pretrained and pinned:
        start += f" of {code_span(base)} at revision {code_span(revision)}"
    text = (
        f"{form} image classifier with {len(facts.labels)} labels, `{subject.architecture}` at "
        f"{size} × {size} pixels, {made} with PocketEVA, starting from {start}."
    )
    if not subject.is_onnx:
        text += f" Its export for ONNX Runtime and the browser is `{subject.onnx_repo}`."
    pins = [name.split("@", 1) for name in subject.hub.datasets if "@" in name]
    if pins:
        text += f" Data: {', '.join(f'{code_span(name)} at revision {code_span(pin)}' for name, pin in pins)}."
    return "\n\n".join(part for part in (text, subject.hub.description.strip()) if part)


def labels(subject: Subject) -> str:
    """Names in the order of the outputs."""
    known = subject.rule.labels
    thresholds = " or ".join(f"{threshold:g}" for threshold in sorted(set(subject.rule.thresholds)))
    about = {
        "nominal": "",
        "ordinal": " The labels are ordered: each is more severe than the one before it.",
        "multilabel": f" An image may have several, or none: each applies from a probability of {thresholds} on.",
    }[known.kind]
    lines = "\n".join(f"{index}. {code_span(name)}" for index, name in enumerate(known.names))
    return f"## Labels\n\nIn the order of the outputs.{about}\n\n{lines}"


def use(subject: Subject) -> str:
    """Code that loads the model."""
    private = "While the repository is private, log in first: `hf auth login`.\n\n" if subject.hub.private else ""
    return "## Use\n\n" + private + (_use_onnx(subject) if subject.is_onnx else _use_checkpoint(subject))


def _use_checkpoint(subject: Subject) -> str:
    return f"""With timm:

{timm_snippet(subject.repo, subject.rule)}

From a folder instead of the Hub: `hf download {subject.repo} --local-dir FOLDER`, then `local-dir:FOLDER` in place of \
`hf-hub:{subject.repo}`. With transformers, where a path to the folder does as well:

{transformers_snippet(subject.repo)}

{_timm_resize(subject)}`rgb.onnx` of `{subject.onnx_repo}` has the resize of training inside:

{rgb_snippet(subject.onnx_repo)}"""


def _timm_resize(subject: Subject) -> str:
    record = ParityRecord.read_if_there(subject.model.onnx)
    if record is None or record.timm is None:
        return ""
    return (
        "Both resize by one call of Pillow's, training by two. That moves a probability of the exported model "
        f"{record.timm.words}; these images are made to be hard on a resize. "
    )


def _use_onnx(subject: Subject) -> str:
    return f"""{which_file(subject)}

On the command line, with PocketEVA, which decodes and resizes as in training:

{predict_snippet(subject.repo)}

In Python, with ONNX Runtime and Pillow alone. Images with transparency or 16 bits a channel need the care that \
`pocketeva predict` takes: transparency laid over white, values scaled to 8 bits.

{rgb_snippet(subject.repo)}

For runtimes that `rgb.onnx` is not for (see the limits), `onnx/model.onnx` takes pixels that you prepared:

{onnx_snippet(subject.repo, subject.spec, subject.rule)}

{_page(subject)}{_javascript(subject)}"""


def which_file(subject: Subject) -> str:
    """The file to take for each device."""
    kinds = {file.kind for file in subject.model.files()}
    rows = [
        ("a server, a desktop, a phone: ONNX Runtime on the CPU", "`rgb.onnx`, which takes decoded images of any size"),
        ("a browser, Node", "`rgb.onnx` in onnxruntime-web, or `onnx/model.onnx` in transformers.js"),
        ("a GPU, OpenVINO, TensorRT, Core ML", "`onnx/model.onnx`, with the images resized on the CPU"),
    ]
    if FP16 in kinds:
        costs = f"`{FP16.path}`; its row under Files has what it costs"
        rows.append(("half the download, or a GPU that is fast in fp16", costs))
    if INT8 in kinds:
        rows.append(("a CPU with fast INT8, little memory", f"`{INT8.path}`; measure there whether it is faster"))
    return f"Which file for which device:\n\n{markdown_table(('device', 'file'), rows)}"


def inputs(subject: Subject) -> str:
    """The input contract in words."""
    spec = subject.spec
    return f"""## Input

`pixel_values` is float32 [batch, 3, {spec.size}, {spec.size}], made of an image as follows; `rgb.onnx` \
does all that follows the decoding.

1. Decode: 8 bits a channel in RGB, upright by the EXIF orientation, transparency over white, no color management.
2. Fit: {_fit_in_words(spec)} Bicubic (a = −0.5) with antialiasing, in two passes, first the width, then the height, \
each rounded and clipped to 8 bits.
3. Normalize: (x / 255 − mean) / std, with mean {list(spec.mean)} and std {list(spec.std)} for R, G and B."""


def _fit_in_words(spec: InputSpec) -> str:
    if spec.mode == "squash":
        return "The whole image is squashed to the square; proportions are not kept."
    return f"The shorter side becomes {int(spec.size / spec.crop_pct)}, and the middle square of {spec.size} is kept."


def _javascript(subject: Subject) -> str:
    private = "\n\nFrom a private repository, give `fetch` the token as a header." if subject.hub.private else ""
    return f"""In JavaScript, with transformers.js. It loads `onnx/model.onnx` unless another `dtype` is asked for.

{transformers_js_snippet(subject.repo, subject.rule)}

{_javascript_resize(subject)} `rgb.onnx` has the resize of training inside:

{rgb_js_snippet(subject.repo)}{private}"""


def _javascript_resize(subject: Subject) -> str:
    """The measurement of transformers.js, or that there is none."""
    own = "Its resize is not that of training: sharp's in Node, the canvas's in a browser."
    if subject.javascript is None:
        return f"{own} By how much that moves this model's probabilities was not measured."
    measured = f"That moves a probability {subject.javascript.words}, in Node; in a browser it was not measured."
    return f"{own} {measured} These images are made to be hard on a resize."


def _page(subject: Subject) -> str:
    """The way to open the page, where the folder has one."""
    if not (subject.folder / INDEX).is_file():
        return ""
    return f"""In a browser, on your own images, which stay on the device: any web server can serve this folder, whose \
`index.html` runs the model, and checks with the golden images that this browser does it as in training.

{page_snippet(subject.repo, with_runtime=subject.hub.page)}

"""


def results(subject: Subject) -> str:
    """Metrics on the test split, with their uncertainty and what guessing would give."""
    if subject.certificate is None:
        return ""
    test = subject.certificate.test
    file = subject.measured.reference
    accuracy = file.accuracy
    right = "Accuracy" if subject.rule.exclusive else "Accuracy: every label of the image right"
    where = "" if subject.is_onnx else f" They were measured on the export in `{subject.onnx_repo}`, same weights."
    rows = [
        (right, f"{_share(accuracy)}, {accuracy.confidence:.0%} interval {_between(accuracy)}"),
        (f"Always answering {_answer(test.majority)}", _share(test.majority)),
        ("Macro F1", _number(file.macro_f1)),
        *_ordinal_rows(file),
        *_agreement_rows(file, subject.agreement, "where the teacher says" if subject.rule.exclusive else "on"),
        ("ONNX file", f"{file.bytes / 1e6:.1f} MB"),
        (
            f"Latency, one thread of {plain_markdown(file.latency_ms.processor) or 'the CPU that verified it'}",
            f"{file.latency_ms.p50:.1f} ms median, {file.latency_ms.p95:.1f} ms at the 95th percentile",
        ),
    ]
    return f"""## Results

On {accuracy.n:,} test images that neither training nor calibration saw. The test split has {test.images:,} \
images; of every group of duplicates one was taken.{where}

{markdown_table(("", "value"), rows)}

{_per_label(subject)}{_confusion(subject)}"""


def _answer(majority: Majority) -> str:
    """The label that is true most often, or the labels."""
    return " and ".join(map(code_span, majority.labels)) or "no label"


def _ordinal_rows(file: FileFacts) -> list[tuple[str, str]]:
    """Errors of ordered labels: distance and side."""
    if file.ordinal is None:
        return []
    sides = (("mild", file.ordinal.under_call), ("severe", file.ordinal.over_call))
    return [
        ("Quadratic weighted kappa", _number(file.ordinal.quadratic_kappa)),
        ("Mean error, in labels", _number(file.ordinal.mean_absolute_error)),
        *(
            (f"Too {side} by {plural(steps, 'label')} or more", f"{_share(rate)}, interval {_between(rate)}")
            for side, calls in sides
            for steps, rate in calls.items()
        ),
    ]


def _agreement_rows(file: FileFacts, found: Criterion | None, where: str) -> list[tuple[str, str]]:
    if found is None:
        return []
    at_least = f"at least {percent(found.lower or 0, 'at least')} with {found.confidence:.1%} confidence"
    milder, severer = (sum(getattr(side, name) for side in file.sides) for name in ("milder", "severer"))
    sides = f"{milder:,} milder than the teacher, {severer:,} more severe"
    return [
        ("Agreement with the exported teacher", f"{_share(file.agreement)}, {at_least}"),
        ("The same beyond chance (kappa)", _number(file.kappa)),
        *([("Where they differ", sides)] if file.sides else []),
        *(
            (f"Agreement {where} {code_span(label)}", _share(rate))
            for label, rate in file.agreement_by_label.items()
            if rate.n
        ),
    ]


def _per_label(subject: Subject) -> str:
    # Where labels exclude each other, the confusion matrix says more.
    errors = () if subject.rule.exclusive else ("false alarms", "missed")
    cells = [
        (
            code_span(row.label),
            f"{row.positives:,}",
            *map(_number, (row.precision, row.recall, row.f1)),
            *(_errors(row) if errors else ()),
        )
        for row in subject.measured.per_label
    ]
    return "A dash means undefined: the label is not in the test split, or was never predicted.\n\n" + markdown_table(
        ("label", "images", "precision", "recall", "F1", *errors), cells
    )


def _errors(row: LabelFacts) -> tuple[str, str]:
    """False alarms and misses of a label that applies or not by itself."""
    rejected, false_alarms, missed, found = row.confusion
    return f"{false_alarms:,} of {rejected + false_alarms:,}", f"{missed:,} of {missed + found:,}"


def _confusion(subject: Subject) -> str:
    if subject.measured.confusion is None:
        return ""
    named = [code_span(name) for name in subject.rule.labels.names]
    rows = [(name, *map(str, row)) for name, row in zip(named, subject.measured.confusion, strict=True)]
    # Those that ``hub.card`` writes beside it: of a large label set there is no matrix to look at.
    matrix, reliability = (f"\n\n![{name.split('.')[0]}]({name})" for name in PICTURES)
    pictures = (matrix if len(named) <= MOST_IN_PICTURE else "") + reliability
    head = "\n\nConfusion matrix, true labels down, predicted labels across:\n\n"
    return head + markdown_table(("", *named), rows) + pictures


def notes(subject: Subject) -> str:
    """Diagnoses of the model: what looks wrong, and what to try."""
    found = subject.measured.notes if subject.certificate else ()
    lines = [f"* {plain_markdown(note.line('The model'))}" for note in sorted(found, key=lambda one: not one.serious)]
    return "\n".join(["## What looks wrong, and what to try", "", *lines]) if lines else ""


def calibration(subject: Subject) -> str:
    """The meaning of the scores."""
    facts = subject.facts
    if facts.uncalibrated is not None:
        return f"""## Scores

The {subject.rule.activation} of the logits gives scores between 0 and 1 that are not calibrated: the model \
{facts.uncalibrated}, so the temperature was left at 1. A score of 0.9 does not mean right in 9 of 10 cases."""
    fitted = f"""## Scores

A temperature of {facts.temperature:.3f} was fitted on the validation split and the weights of the last \
layer are divided by it; do not apply a temperature again. The {subject.rule.activation} of the logits"""
    if subject.certificate is None or subject.certificate.calibrated(subject.measured.file):
        return f"{fitted} is the calibrated probability as it is."
    return f"""{fitted} gives scores between 0 and 1. On the test images they were further from the truth than chance \
allows for calibrated ones: see the certificate."""


def limits(subject: Subject) -> str:
    """Limits: the author's own, and those of every release."""
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
    if not subject.facts.pretrained:
        standing.append("The numbers are those of a small model trained from nothing: no pretrained weights were used.")
    own = subject.hub.limits.strip()
    return "\n\n".join(part for part in ("## Limits", own, "\n".join(f"* {line}" for line in standing)) if part)


def _share(found: Rate | Majority) -> str:
    return f"{found.count:,} of {found.n:,} ({percent(found.rate)})"


def _between(found: Rate) -> str:
    return f"{percent(found.lower, 'at least')} to {percent(found.upper, 'at most')}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
