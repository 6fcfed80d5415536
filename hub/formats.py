"""The part of an ONNX card about files for other runtimes: which there are, what was run and what was not."""

from collections.abc import Mapping
from typing import Any

from export.formats.record import CONVERTED, NOT_WRITTEN, RAN
from hub.sections import table
from hub.subject import Subject


def formats(subject: Subject, content: Mapping[str, Any] | None) -> str:
    """Every format with its size and how far it is from ``model.onnx``.

    Args:
        subject: an ONNX folder.
        content: ``formats.json``, where other formats were asked for.
    """
    if content is None or subject.certificate is None:
        return ""
    every = content["formats"].values()
    rows = [_row(found) for found in every if found["status"] != NOT_WRITTEN]
    missing = [
        f"* No file for {found['title']}: {found['why_not']}" for found in every if found["status"] == NOT_WRITTEN
    ]
    head = ("file", "status", "logits", "probabilities", "ms", "ONNX Runtime, ms", "MB")
    size = subject.spec.size
    about = f"""Made from the same weights, in float32. Each takes `pixel_values`, float32 [1, 3, {size}, {size}], and \
gives `logits`: prepare images as for `onnx/model.onnx`. `formats.json` has the input contract and the labels. Logits \
and probabilities: largest difference from `{content["compared_with"]}` over the {content["images"]} images of \
`golden/`. \
ms: median for one image on one thread of the CPU that exported it ({content["processor"]}), and beside it that of \
`onnx/model.onnx`."""
    unproven = [found["title"] for found in every if found["status"] == CONVERTED]
    warning = (
        f"No runtime on Linux: {', '.join(unproven)} was converted and not run. Check it with `golden/` on a device."
    )
    parts = ["## Other runtimes", table(head, rows) if rows else "", about if rows else "", warning if unproven else ""]
    return "\n\n".join(part for part in (*parts, "\n".join(missing)) if part)


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    ran = found["status"] == RAN
    numbers = (
        (
            f"{found['largest_logit']:.1e}",
            f"{found['largest']:.1e}",
            f"{found['ms']:.1f}",
            f"{found['onnx_ms']:.1f}",
        )
        if ran
        else ("", "", "", "")
    )
    status = f"ran in {found['made_with']}" if ran else f"{found['status']} ({found['made_with']})"
    return f"`{found['file']}`", status, *numbers, f"{found['bytes'] / 1e6:.1f}"
