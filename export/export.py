"""Stage 3: write the release, every byte that will be judged."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.loaders import load
from data.manifest import Manifest
from export.config import ExportConfig
from export.formats.write import write_formats
from export.fp16 import write_fp16
from export.golden.golden import write_golden
from export.int8.quantize import quantize
from export.javascript import model_config, preprocessor_config
from export.onnx_file import write_onnx
from export.parity import BATCHES, ROUNDS, check_parity, check_rgb
from export.release import FP16, FP32, INT8, RGB, Release, baseline_file
from export.reparameterize import fuse
from export.rgb import write_rgb
from models.calibration import fit_temperature
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.console import log
from run.context import RunContext
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, write_json


def export(
    context: RunContext,
    manifest: Manifest,
    config: ExportConfig,
    models: Mapping[str, Classifier],
    license_id: str = "other",
) -> None:
    """Write ``release/NAME`` and ``release/NAME-onnx`` for each model, and remove the folders of models long gone.

    Args:
        context: the run.
        manifest: its calibration images serve to check parity.
        config: how to export.
        models: the teacher and the students, by the name of their release folder.
        license_id: the Hub's identifier of that of the weights, for the metadata of every file.

    Raises:
        UserError: a model cannot be exported, or its file does not give what PyTorch gives.
    """
    Release(context.folder.release).keep_only(models)
    for name, classifier in models.items():
        source = context.folder.teacher if name == "teacher" else context.folder.student(name)
        _export_one(context, manifest, config, name, classifier, source / "model", license_id)


def export_baseline(
    context: RunContext, manifest: Manifest, config: ExportConfig, name: str, classifier: Classifier
) -> None:
    """Write ``students/NAME/model.onnx``, checked like any other, to be compared with and not to be released.

    Raises:
        UserError: the model cannot be exported, or its file does not give what PyTorch gives.
    """
    folder = context.folder.student(name)
    path = baseline_file(context.folder, name).path
    inputs: dict[str, Json] = {
        "weights": file_digest(folder / "model" / "model.safetensors"),
        "images": manifest.digest("calibration"),
        "export": {"opset": config.opset, "parity": config.parity},
    }
    if context.folder.skips(f"export-{name}", inputs):
        return
    log.print(f"exporting {name}")
    uris = manifest.usable("calibration").column("uri")
    classifier, temperature = fuse(classifier), CheckpointFacts.read(folder / "model").temperature
    with atomic_path(path) as partial:
        write_onnx(classifier, partial, opset=config.opset, facts={"temperature": temperature})
        check_parity(classifier, partial, [load(uri) for uri in uris[: BATCHES[-1] * ROUNDS]], config.parity)
    context.folder.mark_done(f"export-{name}", inputs, [path])


def _export_one(
    context: RunContext,
    manifest: Manifest,
    config: ExportConfig,
    name: str,
    classifier: Classifier,
    source: Path,
    license_id: str,
) -> None:
    run = context.folder
    inputs: dict[str, Json] = {
        "weights": file_digest(source / "model.safetensors"),
        "config": file_digest(source / "config.json"),
        "images": manifest.digest("calibration"),
        "export": asdict(config),
        "license": license_id,
    }
    if run.skips(f"export-{name}", inputs):
        return
    part = manifest.usable("calibration")
    if not len(part):
        raise UserError("the calibration split has no images: files are checked on it; raise data.splits.calibration")
    log.print(f"exporting {name}")
    released = Release(run.release).model(name)
    with atomic_path(released.onnx) as partial:
        _write_onnx_folder(partial, classifier, part, config, CheckpointFacts.read(source).temperature, license_id)
    with atomic_path(released.checkpoint) as partial:
        shutil.copytree(source, partial)
    written = [path for folder in (released.checkpoint, released.onnx) for path in folder.rglob("*") if path.is_file()]
    run.mark_done(f"export-{name}", inputs, written)


def _write_onnx_folder(
    folder: Path, classifier: Classifier, part: Manifest, config: ExportConfig, temperature: float, license_id: str
) -> None:
    classifier = fuse(classifier)
    model, int8, rgb = (folder / kind.path for kind in (FP32, INT8, RGB))
    images = [load(uri) for uri in part.column("uri")[: BATCHES[-1] * ROUNDS]]
    write_onnx(classifier, model, opset=config.opset, facts={"temperature": temperature, "license": license_id})
    facts: dict[str, Json] = {FP32.path.as_posix(): check_parity(classifier, model, images, config.parity)}
    count = min(len(part), 2 * config.int8.images)
    pixels = np.stack(
        [classifier.spec.normalize(classifier.spec.render(load(uri))) for uri in part.column("uri")[:count]]
    )
    if config.fp16:
        facts[FP16.path.as_posix()] = _try_fp16(model, folder / FP16.path, pixels)
    if config.int8.mode != "none" and count >= 2:
        targets, labeled = part.targets()[:count], part.labeled()[:count]
        tried = quantize(model, int8, pixels, targets, labeled, config.int8, fit_temperature)
        log.print(f"  {tried.reason}")
        write_json(folder / "int8.json", tried.to_json())
    write_rgb(model, rgb)
    facts[RGB.path.as_posix()] = check_rgb(model, rgb, images, config.parity)
    if int8.is_file():  # the same preprocessing, now proven, before the smaller body
        write_rgb(int8, rgb)
    write_golden(folder / "golden", rgb, model)
    write_formats(folder, classifier, config.formats, config.parity, temperature)
    write_json(folder / "parity.json", facts)
    write_json(folder / "config.json", model_config(classifier.architecture, classifier.labels))
    write_json(folder / "preprocessor_config.json", preprocessor_config(classifier.spec))
    write_json(folder / "labels.json", classifier.labels.to_json())


def _try_fp16(model: Path, path: Path, pixels: NDArray[np.float32]) -> Json:
    """What was measured of the fp16 file, or why there is none."""
    try:
        return write_fp16(model, path, pixels)
    except UserError as error:
        log.print(f"  no fp16 file: {error}", markup=False)
        return {"why_not": str(error)}
