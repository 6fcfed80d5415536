"""The part of a card that says what was shown of a model, what was not, and how to check it."""

from collections.abc import Iterable

from hub.subject import Subject
from run.text import code_span, plain_markdown
from verify.evidence import Criterion
from verify.words import counted, figures, judged_for, missing, outcome, short_name, still_open, worth_a_line


def certificate(subject: Subject) -> str:
    """The verdict, its criteria, and the limits of what they claim."""
    found = subject.certificate
    if found is None:
        return ""
    lines = "\n".join(_lines(filter(worth_a_line, found.of(model=subject.model.name))))
    open_ones = "; ".join(
        f"{group[0].name}{_about(group[0])} ({missing(group[0])})"
        for group in still_open(found.not_shown(subject.model.name))
    )
    agreement = (
        "" if subject.is_teacher else " Agreement is with the teacher, which can be wrong: see the accuracy for that."
    )
    return f"""## Certificate

Verdict for the whole release, teacher and students: **{found.verdict}**. For this model: \
**{subject.measured.verdict}**{f"; not shown: {open_ones}" if open_ones else ""}. The test images were \
{judged_for(found.look.number)}, so that each criterion holds with \
{found.look.confidence:.1%} confidence by itself; `certificate.json` also has the bounds that hold \
for all criteria together. The verdict needs no correction for their number, because every one of them has to pass.

{lines}

`certificate.json` in this repository holds every figure and the SHA-256 of every file of the release. It speaks \
of these files, in ONNX Runtime on a CPU where no other runtime is named, and of images drawn like the test split. It \
says nothing of other images, other files or other runtimes, and it cannot show that its author was honest: \
`pocketeva recheck {subject.repo}` shows what can be checked, and `pocketeva reproduce {subject.repo} CONFIG` measures \
the figures again on your images.{agreement}"""


def _lines(criteria: Iterable[Criterion]) -> list[str]:
    """A line for each criterion; files of which it says the same share one."""
    files: dict[str, list[str]] = {}
    for one in criteria:
        verdict = "PASS" if one.verdict == "PASS" else outcome(one)
        more = f"; {missing(one)}" if one.verdict == "INCONCLUSIVE" else ""
        claim = f"{plain_markdown(one.statement)}{counted(one)}: {plain_markdown(figures(one))}{more}"
        text = f"* **{verdict}**, {one.name}{_about(one)}: {claim}"
        files.setdefault(text, []).append(short_name(one.file))
    return [f"{text} ({', '.join(names)})" for text, names in files.items()]


def _about(criterion: Criterion) -> str:
    return f" of {code_span(criterion.about)}" if criterion.about else ""
