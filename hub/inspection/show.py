"""The table of one inspected model, for people."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from hub.inspection.record import Inspection, ModelFile, Preprocessing, Tensor, Timing
from run.console import console, show_table
from run.text import escaped

MOST_LABELS = 12
"""Names of labels that are shown."""


def show(found: Inspection) -> None:
    """Print a row for each thing that is known."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title_justify="left", title_style="bold")
    table.title = escaped(found.name, one_line=True)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.show_header = False
    for head, text in _rows(found):
        table.add_row(head, escaped(text))
    show_table(table)
    console.print()


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "is", _kind(found)
    yield "inputs", "\n".join(map(_tensor, found.inputs))
    yield "outputs", "\n".join(map(_tensor, found.outputs))
    yield "images", _images(found.preprocessing) if found.preprocessing else "not said: look for its training code"
    yield "labels", _labels(found)
    if found.decision:
        yield "decides by", found.decision
    yield "parameters", _parameters(found)
    yield "MACs", _macs(found)
    if found.files:
        yield "files", "\n".join(map(_file, found.files))
    yield "batch", "any" if found.batch is None else str(found.batch)
    yield "sizes", _sizes(found)
    yield "license", found.license or "not said"
    yield "ONNX", _onnx(found)
    yield "latency", _timing(found.latency) if found.latency else found.not_timed or "not measured"
    yield "teaches", _teaching(found)


def _kind(found: Inspection) -> str:
    named = f"{found.kind}: {found.architecture}" if found.architecture else found.kind
    if found.kind != "timm model":
        return named
    return f"{named}, with random weights; {found.weights or 'none'} on the Hub"


def _tensor(tensor: Tensor) -> str:
    return f"{escaped(tensor.name, one_line=True)}: {tensor.type} [{', '.join(map(str, tensor.shape))}]"


def _images(asked: Preprocessing) -> str:
    side = asked.size
    if asked.resize == "squash":
        how = f"the whole image squashed to {side} × {side}"
    else:
        how = f"shorter side to {int(side / asked.crop_pct)}, then the middle {side} × {side}"
    other = "" if asked.interpolation == "bicubic" else "; PocketEVA resizes bicubic"
    numbers = " and ".join(
        f"{name} {', '.join(f'{value:g}' for value in (round(one, 4) for one in values))}"
        for name, values in (("mean", asked.mean), ("std", asked.std))
    )
    return f"{how}, {asked.interpolation}{other}\n{numbers}"


def _labels(found: Inspection) -> str:
    if found.labels is None:
        return f"{found.num_labels:,}, without names" if found.num_labels else "none: it gives features"
    names = [escaped(name, one_line=True) for name in found.labels]
    between = " < " if found.label_kind == "ordinal" else ", "
    rest = f" and {len(names) - MOST_LABELS:,} more" if len(names) > MOST_LABELS else ""
    return f"{len(names):,}, {found.label_kind}: {between.join(names[:MOST_LABELS])}{rest}"


def _macs(found: Inspection) -> str:
    if found.macs is None:
        return f"not counted: {found.macs_counted}"
    return f"{_large(found.macs)} for one image: {found.macs_counted}"


def _large(number: int) -> str:
    return f"{number / 1e9:,.2f} G" if number >= 1e7 else f"{number / 1e6:,.2f} M"


def _parameters(found: Inspection) -> str:
    number = found.parameters
    if number is None:
        return f"not counted: {found.macs_counted}"
    count = f"{number / 1e6:,.1f} M" if number >= 1e5 else f"{number:,}"
    return count if found.files else f"{count}, {4 * number / 1e6:,.1f} MB in float32"


def _file(file: ModelFile) -> str:
    spent = f", {file.latency.ms:.1f} ms" if file.latency else f": {file.not_timed}" if file.not_timed else ""
    return f"{file.name}: {_bytes(file.bytes)}{spent}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _sizes(found: Inspection) -> str:
    if found.any_size:
        return "any"
    taken = ", ".join(map(str, found.sizes)) or "none of those tried"
    return f"{taken}; built anew for others (image_size)" if found.rebuilt and len(found.sizes) == 1 else taken


def _onnx(found: Inspection) -> str:
    ready = found.onnx
    if ready.state == "exports":
        return (
            f"exports in {ready.seconds:.0f} s: {_bytes(ready.bytes or 0)}, opset {ready.opset}; "
            f"logits differ from PyTorch's by {ready.difference:.0e} at most, of the largest"
        )
    states = {"is ONNX": "it is", "fails": "the export fails", "not tried": "not tried"}
    return f"{states[ready.state]}: {ready.reason}" if ready.reason else states[ready.state]


def _timing(timing: Timing) -> str:
    runs = f"median of {timing.runs} runs" if timing.runs > 1 else "one run"
    return f"{timing.ms:,.1f} ms, {runs} on one thread, {timing.runtime}, {timing.processor}"


def _teaching(found: Inspection) -> str:
    taught = found.teaching
    if not taught.students:
        return f"no student: {taught.reason}"
    return f"{', '.join(taught.students)}; at any size, {taught.reason}"
