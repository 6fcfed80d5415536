"""The part of an ONNX card about files for other runtimes: which there are, what was run and what was not."""

from export.formats.record import Converted, FormatsRecord, NotWritten, Ran
from hub.subject import Subject
from run.text import markdown_table


def formats(subject: Subject, record: FormatsRecord | None) -> str:
    """Every format with its size and how far it is from ``model.onnx``.

    Args:
        subject: an ONNX folder.
        record: ``formats.json``, where other formats were asked for.
    """
    if record is None or subject.certificate is None:
        return ""
    every = record.formats.values()
    rows = [_row(found) for found in every if not isinstance(found, NotWritten)]
    missing = [f"* No file for {found.title}: {found.why_not}" for found in every if isinstance(found, NotWritten)]
    head = ("file", "status", "logits", "probabilities", "ms", "ONNX Runtime, ms", "MB")
    size = subject.spec.size
    about = f"""Made from the same weights, in float32. Each takes `pixel_values`, float32 [1, 3, {size}, {size}], and \
gives `logits`: prepare images as for `onnx/model.onnx`. `formats.json` has the input contract and the labels. Logits \
and probabilities: largest difference from `{record.compared_with}` over the {record.images} images of \
`golden/`. \
ms: median for one image on one thread of the CPU that exported it ({record.processor}), and beside it that of \
`onnx/model.onnx`."""
    unproven = [found.title for found in every if isinstance(found, Converted)]
    warning = (
        f"No runtime on Linux: {', '.join(unproven)} was converted and not run. Check it with `golden/` on a device."
    )
    parts = [
        "## Other runtimes",
        markdown_table(head, rows) if rows else "",
        about if rows else "",
        warning if unproven else "",
    ]
    return "\n\n".join(part for part in (*parts, "\n".join(missing)) if part)


def _row(found: Ran | Converted) -> tuple[str, ...]:
    if isinstance(found, Ran):
        numbers = (f"{found.largest_logit:.1e}", f"{found.largest:.1e}", f"{found.ms:.1f}", f"{found.onnx_ms:.1f}")
        status = f"ran in {found.made_with}"
    else:
        numbers = ("", "", "", "")
        status = f"{found.status} ({found.made_with})"
    return f"`{found.file}`", status, *numbers, f"{found.bytes / 1e6:.1f}"
