"""The part of an ONNX card that lists its files, what was measured of each, and how the INT8 file was chosen."""

from export.int8.result import FailedRow, Int8Result, Quality, Row
from export.oldest import oldest_runtime
from hub.subject import Subject
from run.figures import percent
from run.text import markdown_table, plain_markdown


def files(subject: Subject, int8: Int8Result | None) -> str:
    """Every ONNX file with its size, its accuracy and its agreement with the teacher's float32 file.

    Args:
        subject: an ONNX folder.
        int8: ``int8.json``, where INT8 was tried.
    """
    if subject.certificate is None:
        return ""
    measured = ((file, subject.measured.files.get(file.name)) for file in subject.model.files())
    rows = [
        (
            f"`{file.kind.path.as_posix()}`",
            file.kind.about,
            f"{found.bytes / 1e6:.1f}",
            percent(found.accuracy.rate),
            percent(found.agreement.rate),
            f"{found.latency_ms.p50:.1f}",
            oldest_runtime(file.path),
        )
        for file, found in measured
        if found is not None
    ]
    cpu = plain_markdown(subject.measured.reference.latency_ms.processor) or "the CPU that verified it"
    return f"""## Files

{markdown_table(("file", "what it is", "MB", "accuracy", "agreement", "ms", "ONNX Runtime"), rows)}

Accuracy and agreement with the teacher's float32 file are of the test split; ms is the median for one image on one \
thread of {cpu}, for `rgb.onnx` with a 640 × 480 image; ONNX Runtime is the oldest version that is known to run the \
file. Which file is fastest depends on the device: measure there. `golden/` \
holds images with the result of every step, to find out which step of an app differs.\
{_int8(int8)}"""


_ONE_AT_A_TIME = """ \
Give `model_quantized.onnx` one image at a time, as it was measured: it takes the scales of its activations from all \
images of a batch, so that in a batch the others change an image's scores."""


def _int8(int8: Int8Result | None) -> str:
    if int8 is None:
        return ""
    if int8.fp32 is None:
        return f"\n\n{_sentence(int8)}"
    fp32 = ("float32", "", "", "", _accuracy(int8.fp32), "", "", f"{int8.fp32.bytes / 1e6:.1f}", "")
    head = ("method", "per channel", "activations", "in fp32", "accuracy", "flips", "ms", "MB", "why not")
    dynamic = int8.winner is not None and int8.winner.method == "dynamic"
    return f"""

{_sentence(int8)} Ranges came from {int8.images.ranges:,} training images, candidates were judged on \
{int8.images.judged:,} others; a flip is a decision that is not that of float32, and each candidate's bound has \
{int8.gate.confidence:.2%} confidence. Times are of one thread of the CPU \
that exported it ({int8.processor}), and vouch for no other: INT8 can be slower than float32 elsewhere, in WASM for \
one.{_ONE_AT_A_TIME if dynamic else ""}

{markdown_table(head, [fp32, *map(_candidate, int8.candidates)])}"""


def _sentence(int8: Int8Result) -> str:
    reason = int8.reason
    return f"INT8: {reason}." if int8.winner is not None else f"{reason[0].upper()}{reason[1:]}."


def _candidate(row: Row | FailedRow) -> tuple[str, ...]:
    settings = (row.method, "yes" if row.per_channel else "no", row.activation, str(len(row.excluded) or ""))
    if isinstance(row, FailedRow):
        return (*settings, "", "", "", "", row.why_not)
    return (
        *settings,
        _accuracy(row),
        f"{row.flips} of {row.n} (up to {percent(row.most_flips, 'at most', 2)})",
        "" if row.ms is None else f"{row.ms:.2f}",
        f"{row.bytes / 1e6:.1f}",
        row.why_not or "",
    )


def _accuracy(found: Quality) -> str:
    return "" if found.accuracy is None else percent(found.accuracy)
