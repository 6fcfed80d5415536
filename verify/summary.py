"""The table that a run ends with."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from models.outputs import choice, exclusive
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
        narrow = (0, 1, 0, 0)  # so that nine columns fit into 80 characters
        table = Table(title=model, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=narrow)
        table.add_column("file", min_width=8)
        mild = ["too mild"] if _under_call(facts) else []
        for heading in ("right", "interval", *mild, "agrees", "bound", "parity", "MB", "p50/p95"):
            table.add_column(heading, justify="right", no_wrap=True)
        for file, found in facts["files"].items():
            cells = _cells(found, criteria.get(("agreement", file)), criteria.get(("parity", file)))
            table.add_row(KINDS[file.split("/", 1)[1]], *cells)
        console.print(table)
        if "baseline" in facts:
            console.print(_gain(facts["baseline"]))
    _explain(certificate, release)


def _cells(found: dict[str, Any], agreement: dict[str, Any] | None, parity: dict[str, Any] | None) -> list[str | Text]:
    accuracy, latency, under = found["accuracy"], found["latency_ms"], _under_call(found)
    return [
        f"{accuracy['rate']:.1%}",
        f"{100 * accuracy['lower']:.1f}–{100 * accuracy['upper']:.1f}",
        *([f"{under[1]['rate']:.1%}"] if under else []),
        f"{agreement['rate']:.1%}" if agreement else "",
        _colored(f"{agreement['lower']:.1%}", agreement["verdict"]) if agreement else "",
        _colored(f"{parity['largest']:.0e}", parity["verdict"]) if parity else "",
        f"{found['bytes'] / 1e6:.1f}",
        "/".join(f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" for ms in (latency["p50"], latency["p95"])),
    ]


def _under_call(found: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The headline of ordered labels: how often a file is too mild by the most steps that are counted."""
    return max(found["ordinal"]["under_call"].items()) if "ordinal" in found else None


def _gain(baseline: dict[str, Any]) -> str:
    accuracy, gain = baseline["accuracy"], baseline["gain"]
    return (
        f"trained on labels alone: {accuracy['rate']:.1%}; distillation added {100 * gain['rate']:+.1f} points "
        f"({100 * gain['lower']:+.1f} to {100 * gain['upper']:+.1f}; McNemar p {gain['mcnemar_p']:.2g})\n"
    )


def _majority(majority: dict[str, Any]) -> str:
    """What to say always, to be right most often."""
    return repr(majority["label"]) if "label" in majority else repr(", ".join(majority["labels"]) or "none")


def _explain(certificate: dict[str, Any], release: Path) -> None:
    test, kind = certificate["test"], certificate["labels"]["kind"]
    under = _under_call(certificate["models"]["teacher"])
    agreements = [criterion for criterion in certificate["criteria"] if criterion["name"] == "agreement"]
    confidence, target = agreements[0]["confidence"], agreements[0]["target"]
    console.print(
        f"right: {'' if exclusive(kind) else 'every label right, '}with {confidence:.0%} interval; always saying "
        f"{_majority(test['majority'])} would be right on {test['majority']['rate']:.1%}\n"
        + (f"too mild: by {under[0]} labels or more\n" if under else "")
        + f"agrees: {choice(kind)} as the teacher's fp32 file; 'bound' is the exact one-sided "
        f"{confidence:.0%} bound, target {target:.0%}\n"
        "parity: largest difference of a probability from PyTorch; p50/p95: ms for one image on one thread"
    )
    for criterion in agreements:
        if criterion["verdict"] == "INCONCLUSIVE":
            more = criterion["more_images"]
            enough = f"about {more:,} more test images would decide" if more else "no number of images would decide"
            console.print(f"{criterion['file']}: too few images to tell; {enough}")
    shown = {file for facts in certificate["models"].values() for file in facts["files"]}
    for criterion in certificate["criteria"]:
        if criterion["name"] == "parity" and criterion["verdict"] != "PASS" and criterion["file"] not in shown:
            console.print(f"{criterion['file']}: not the file that export ran, or too far off: run `pocketeva export`")
    console.print("verdict:", _colored(certificate["verdict"], certificate["verdict"]), style="bold")
    console.print(f"files: {release}")


def _colored(text: str, verdict: str) -> Text:
    return Text(text, style=COLORS[verdict])
