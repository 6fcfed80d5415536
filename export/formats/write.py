"""Files for other runtimes: each is made, run on the golden kit where Linux can, and kept only if it passes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from export.config import FormatName
from export.formats import FORMATS, converted_files
from export.formats.check import Comparison, compare, open_format
from export.formats.format import Format, Source
from export.formats.record import Converted, Distance, FormatsRecord, NotWritten, Ran
from export.golden.kit import Kit, read_kit
from export.libraries import first_line, library_errors, silently
from export.onnx_graph import metadata_of, warn_of_places
from export.release import FP32
from export.runtime import processor
from export.session import one_inference
from export.timing import race
from models.classifier import Classifier
from run.console import log
from run.disk import as_disk_full
from run.errors import UserError
from run.files import atomic_path, file_digest, remove


def write_formats(
    folder: Path, classifier: Classifier, names: Sequence[FormatName], tolerance: float, temperature: float
) -> None:
    """Write the formats that are asked for, and ``formats.json``, their record.

    A format that cannot be made, or is too far from ``model.onnx``, leaves no file behind; the log and ``formats.json``
    say why. The others are written all the same.

    Args:
        folder: a ``NAME-onnx`` folder with ``model.onnx`` and its golden kit.
        classifier: the model in it, with its branches fused.
        names: formats to write; where there are none, nothing is done.
        tolerance: largest difference of a probability from ``model.onnx``; logits have the tolerance of the kit.
        temperature: for ``formats.json``; it is in the weights already.
    """
    if not names:
        return
    model = folder / FP32.path
    source = Source(classifier, model, metadata_of(onnx.load(model)))
    classifier.model.cpu().eval()
    kit = read_kit(folder)
    record = FormatsRecord(
        rule=kit.rule,
        spec=classifier.spec,
        temperature=temperature,
        compared_with=FP32.path.as_posix(),
        images=len(kit.names),
        processor=processor(),
        formats={name: _write_one(folder, source, FORMATS[name], kit, tolerance) for name in names},
    )
    record.write(folder)


def _write_one(folder: Path, source: Source, form: Format, kit: Kit, tolerance: float) -> Ran | Converted | NotWritten:
    log.print(f"  converting to {form.title}")
    place = form.path.parent
    # A file of an earlier export must not outlive a conversion that fails now.
    remove(folder / place)
    facts: dict[str, Any] = {"title": form.title, "file": form.path.as_posix(), "made_with": form.made_with}
    try:
        with atomic_path(folder / place) as partial:
            _convert(form, source, partial / form.path.name)
            distance = _measure(form, source, partial / form.path.name, kit, tolerance)
    except UserError as error:
        log.print(f"  no file for {form.title}: {error}", soft_wrap=True)
        return NotWritten(**facts, why_not=str(error))
    files = [path for path in converted_files(folder) if path.parts[0] == place.parts[0]]
    size = sum((folder / path).stat().st_size for path in files)
    digests = {path.as_posix(): file_digest(folder / path) for path in files}
    if distance is None:
        return Converted(**facts, bytes=size, sha256=digests)
    return Ran(**facts, **asdict(distance), bytes=size, sha256=digests)


def _convert(form: Format, source: Source, path: Path) -> None:
    path.parent.mkdir()
    try:
        with silently():
            form.convert(source, path)
    except library_errors(OSError) as error:
        if as_disk_full(error):
            raise
        model = source.classifier.architecture
        raise UserError(f"{form.made_with} cannot convert {model}: {first_line(error)}") from error
    # Before the file is kept: converters note where their sources lie.
    for file in path.parent.rglob("*"):
        if file.is_file():
            warn_of_places(file, file.read_bytes())


def _measure(form: Format, source: Source, path: Path, kit: Kit, tolerance: float) -> Distance | None:
    """Run a file, and refuse it if it is too far from the kit; null where it cannot be run here."""
    if form.load is None:
        return None
    infer = open_format(form, path)
    with silently():
        found = compare(infer, kit, form.title)
    _require_close(found, tolerance)
    image = kit.pixel_values[:1]
    with silently():
        ms, onnx_ms = race([lambda: infer(image), one_inference(source.onnx, image)])
    return Distance(
        largest_logit=found.distance.largest,
        spread=found.distance.spread,
        largest=found.largest,
        target=tolerance,
        ms=ms,
        onnx_ms=onnx_ms,
        threads=1,
    )


def _require_close(found: Comparison, tolerance: float) -> None:
    if found.largest > tolerance:
        raise UserError(
            f"a probability differs from {FP32.path.name} by {found.largest:.2g}, more than export.parity "
            f"({tolerance:g})"
        )
    for row in found.rows:
        if not row.passed:
            raise UserError(
                f"a logit of the golden image {row.image} differs from {FP32.path.name} by {row.difference:.2g}, more "
                f"than {row.tolerance:.2g}"
            )
