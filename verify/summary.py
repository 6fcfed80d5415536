"""The table that a run ends with."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from run.console import console

COLORS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


KINDS = {
    "onnx/model.onnx": "fp32",
    "onnx/model_fp16.onnx": "fp16",
    "onnx/model_quantized.onnx": "int8",
    "rgb.onnx": "rgb.onnx",
}
"""What the table calls each file of a release folder."""


def show(certificate: dict[str, Any], release: Path) -> None:
    """Print what the certificate says, and where the files are."""
    console.print(f"{certificate['name']}: {certificate['test']['groups']:,} test images")
    criteria = {(criterion["name"], criterion["file"]): criterion for criterion in certificate["criteria"]}
    for model, facts in certificate["models"].items():
        table = Table(title=model, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        table.add_column("file", min_width=8)
        for heading in ("accuracy", "agreement", "at least", "parity", "MB", "ms p50/p95"):
            table.add_column(heading, justify="right")
        for file, found in facts["files"].items():
            cells = _cells(found, criteria.get(("agreement", file)), criteria.get(("parity", file)))
            table.add_row(KINDS[file.split("/", 1)[1]], *cells)
        console.print(table)
    _explain(certificate, release)


def _cells(found: dict[str, Any], agreement: dict[str, Any] | None, parity: dict[str, Any] | None) -> list[str | Text]:
    accuracy, latency = found["accuracy"], found["latency_ms"]
    return [
        f"{accuracy['rate']:.1%} ({100 * accuracy['lower']:.1f}–{100 * accuracy['upper']:.1f})",
        f"{agreement['rate']:.1%}" if agreement else "",
        _colored(f"{agreement['lower']:.1%}", agreement["verdict"]) if agreement else "",
        _colored(f"{parity['largest']:.0e}", parity["verdict"]) if parity else "",
        f"{found['bytes'] / 1e6:.1f}",
        f"{latency['p50']:.1f}/{latency['p95']:.1f}",
    ]


def _explain(certificate: dict[str, Any], release: Path) -> None:
    majority = certificate["test"]["majority"]
    agreements = [criterion for criterion in certificate["criteria"] if criterion["name"] == "agreement"]
    confidence, target = agreements[0]["confidence"], agreements[0]["target"]
    console.print(
        f"accuracy: with {confidence:.0%} interval; always saying {majority['label']!r} would be right on "
        f"{majority['rate']:.1%}\n"
        f"agreement: with the teacher's fp32 file; 'at least' is the exact one-sided {confidence:.0%} bound, "
        f"target {target:.0%}\n"
        "parity: largest difference of a probability from PyTorch; ms: one image on one thread"
    )
    for criterion in agreements:
        if criterion["verdict"] == "INCONCLUSIVE":
            more = criterion["more_images"]
            enough = f"about {more:,} more test images would decide" if more else "no number of images would decide"
            console.print(f"{criterion['file']}: too few images to tell; {enough}")
    console.print("verdict:", _colored(certificate["verdict"], certificate["verdict"]), style="bold")
    console.print(f"files: {release}")


def _colored(text: str, verdict: str) -> Text:
    return Text(text, style=COLORS[verdict])
