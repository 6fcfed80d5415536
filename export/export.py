"""Stage 3: write the release, every byte that will be judged."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from data.loaders import load
from data.manifest import Manifest
from export.config import ExportConfig
from export.onnx_file import write_onnx
from export.parity import BATCHES, ROUNDS, check_parity
from export.release import ONNX_FILE, javascript_config, onnx_folder, preprocessor_config
from models import checkpoint
from models.classifier import Classifier
from run.console import log
from run.context import RunContext
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, remove, write_json


def export(context: RunContext, manifest: Manifest, config: ExportConfig, models: Mapping[str, Classifier]) -> None:
    """Write ``release/NAME`` and ``release/NAME-onnx`` for each model, and remove the folders of models long gone.

    Args:
        context: the run.
        manifest: its calibration images serve to check parity.
        config: how to export.
        models: the teacher and the students, by the name of their release folder.

    Raises:
        UserError: a model cannot be exported, or its file does not give what PyTorch gives.
    """
    release = context.folder.release
    keep = {*models, *map(onnx_folder, models)}
    for path in release.iterdir() if release.is_dir() else ():
        if path.name not in keep:
            remove(path)
    for name, classifier in models.items():
        source = context.folder.teacher if name == "teacher" else context.folder.student(name)
        _export_one(context, manifest, config, name, classifier, source / "model")


def _export_one(
    context: RunContext, manifest: Manifest, config: ExportConfig, name: str, classifier: Classifier, source: Path
) -> None:
    run = context.folder
    inputs: dict[str, Json] = {
        "weights": file_digest(source / "model.safetensors"),
        "config": file_digest(source / "config.json"),
        "manifest": file_digest(run.manifest),
        "export": asdict(config),
    }
    if run.skips(f"export-{name}", inputs):
        return
    log.print(f"exporting {name}")
    images = [load(Path(uri)) for uri in manifest.usable("calibration").column("uri")[: BATCHES[-1] * ROUNDS]]
    if not images:
        raise UserError("the calibration split has no images: parity is checked on it; raise data.splits.calibration")
    plain, with_onnx = run.release / name, run.release / onnx_folder(name)
    with atomic_path(plain) as partial:
        shutil.copytree(source, partial)
    with atomic_path(with_onnx) as partial:
        facts = checkpoint.facts_of(source)
        write_onnx(classifier, partial / ONNX_FILE, opset=config.opset, facts={"temperature": facts["temperature"]})
        write_json(partial / "parity.json", check_parity(classifier, partial / ONNX_FILE, images, config.parity))
        write_json(partial / "config.json", javascript_config(classifier.architecture, classifier.labels))
        write_json(partial / "preprocessor_config.json", preprocessor_config(classifier.spec))
        write_json(partial / "labels.json", classifier.labels.to_json())
    written = [path for folder in (plain, with_onnx) for path in folder.rglob("*") if path.is_file()]
    run.mark_done(f"export-{name}", inputs, written)
