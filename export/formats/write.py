"""Files for other runtimes: each is made, run on the golden kit where Linux can, and kept only if it passes."""

from collections.abc import Sequence
from pathlib import Path

import onnx

from export.config import FormatName
from export.formats import FORMATS, converted_files
from export.formats.check import Comparison, compare, load
from export.formats.format import CONVERTED, NOT_WRITTEN, RAN, Format, Run, Source, first_line, quietly
from export.golden.kit import Kit, read_kit
from export.onnx_file import input_json
from export.onnx_graph import metadata_of, require_no_paths
from export.release import FORMATS_FILE, FP32
from export.runtime import processor
from export.session import one_inference
from export.timing import race
from models.classifier import Classifier
from models.outputs import activation
from run.console import log
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, remove, write_json

CONVERTER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What converters are known to raise of a model that they cannot express."""


def write_formats(
    folder: Path, classifier: Classifier, names: Sequence[FormatName], tolerance: float, temperature: float
) -> None:
    """Write the formats that are asked for, and ``formats.json``: what an app needs, and what was measured of each.

    A format that cannot be made, or is too far from ``model.onnx``, leaves no file behind; the log and ``formats.json``
    say why. The others are written all the same.

    Args:
        folder: a ``NAME-onnx`` folder with ``model.onnx`` and its golden kit.
        classifier: the model in it, with its branches fused.
        names: what to write; where there are none, nothing is done.
        tolerance: largest difference of a probability from ``model.onnx``; logits have the tolerance of the kit.
        temperature: for ``formats.json``; it is in the weights already.
    """
    if not names:
        return
    model = folder / FP32.path
    source = Source(classifier, model, metadata_of(onnx.load(model)))
    classifier.model.cpu().eval()
    kit = read_kit(folder)
    content: dict[str, Json] = {
        "input": {"name": "pixel_values", "dtype": "float32", "layout": "NCHW", **input_json(classifier.spec)},
        "output": {"name": "logits", "dtype": "float32", "activation": activation(classifier.labels.kind)},
        "labels": classifier.labels.to_json(),
        "temperature": temperature,
        "temperature_is_in_the_weights": True,
        "compared_with": FP32.path.as_posix(),
        "images": len(kit.names),
        "processor": processor(),
        "formats": {name: _write_one(folder, source, FORMATS[name], kit, tolerance) for name in names},
    }
    write_json(folder / FORMATS_FILE, content)


def _write_one(folder: Path, source: Source, form: Format, kit: Kit, tolerance: float) -> dict[str, Json]:
    """What was measured of a file, or ``why_not`` where none was written."""
    log.print(f"  converting to {form.title}")
    remove(folder / form.path.parent)
    facts: dict[str, Json] = {"title": form.title, "file": form.path.as_posix(), "made_with": form.made_with}
    try:
        with atomic_path(folder / form.path.parent) as partial:
            _convert(form, source, partial / form.path.name)
            measured = _measure(form, source, partial / form.path.name, kit, tolerance)
    except UserError as error:
        log.print(f"  no file for {form.title}: {error}", soft_wrap=True)
        return {**facts, "status": NOT_WRITTEN, "why_not": str(error)}
    files = [path for path in converted_files(folder) if path.parts[0] == form.path.parts[0]]
    return {
        **facts,
        **measured,
        "bytes": sum((folder / path).stat().st_size for path in files),
        "sha256": {path.as_posix(): file_digest(folder / path) for path in files},
    }


def _convert(form: Format, source: Source, path: Path) -> None:
    path.parent.mkdir()
    try:
        with quietly():
            form.convert(source, path)
    except CONVERTER_ERRORS as error:
        model = source.classifier.architecture
        raise UserError(f"{form.made_with} cannot convert {model}: {first_line(error)}") from error
    for file in path.parent.rglob("*"):
        if file.is_file():
            require_no_paths(file.read_bytes())


def _measure(form: Format, source: Source, path: Path, kit: Kit, tolerance: float) -> dict[str, Json]:
    """What running the file showed; nothing where it cannot be run."""
    if form.load is None:
        return {"status": CONVERTED}
    run = load(form, path)
    with quietly():
        found = compare(run, kit)
    _require_close(found, kit, tolerance)
    ms, onnx_ms = _race(run, source.onnx, kit)
    return {
        "status": RAN,
        "largest_logit": float(found.logits.max()),
        "largest": float(found.probabilities.max()),
        "target": tolerance,
        "ms": ms,
        "onnx_ms": onnx_ms,
        "threads": 1,
    }


def _require_close(found: Comparison, kit: Kit, tolerance: float) -> None:
    largest = float(found.probabilities.max())
    if not largest <= tolerance:
        raise UserError(
            f"a probability differs from {FP32.path.name} by {largest:.2g}, more than export.parity ({tolerance:g})"
        )
    for image, difference, allowed in zip(kit.names, found.logits, kit.tolerances, strict=True):
        if not difference <= allowed:
            raise UserError(
                f"a logit of the golden image {image} differs from {FP32.path.name} by {difference:.2g}, more than "
                f"{allowed:.2g}"
            )


def _race(run: Run, model: Path, kit: Kit) -> list[float]:
    """Median milliseconds of one image on one thread: this file's, and those of ``model.onnx`` beside it."""
    image = kit.pixel_values[:1]
    with quietly():
        return race([lambda: run(image), one_inference(model, image)])
