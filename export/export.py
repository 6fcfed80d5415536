"""Stage 3: write the release, every byte that will be judged."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.changes import Rows
from data.loaders import load
from data.manifest import Manifest
from export.config import ExportConfig
from export.formats.write import write_formats
from export.fp16 import write_fp16
from export.golden.kit import GOLDEN
from export.golden.write import write_golden
from export.int8.judge import CalibrationImages
from export.int8.quantize import quantize
from export.javascript import model_config, preprocessor_config
from export.onnx_file import write_onnx
from export.onnx_graph import warn_of_places
from export.parity import IMAGES, check_parity, check_rgb
from export.parity_record import Fp16Facts, NotWritten, ParityRecord
from export.release import FP16, FP32, INT8, RGB, Release, baseline_file
from export.reparameterize import fuse
from export.rgb import write_rgb
from models.classifier import Classifier
from models.facts import CheckpointFacts
from models.spec import InputSpec
from run.console import log
from run.context import RunContext
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, write_json
from run.stage import Inputs, stage


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
    release = Release(context.folder.release)
    # First, because whatever lies in the release is taken to belong to it by every later stage.
    release.keep_only(models)
    part = manifest.usable("calibration")
    for name, classifier in models.items():
        released = release.model(name)
        source = (context.folder.teacher if released.role == "teacher" else context.folder.student(name)) / "model"
        inputs: Inputs = {
            "weights": file_digest(source / "model.safetensors"),
            "config": file_digest(source / "config.json"),
            "images": Rows.of_images(manifest, "calibration"),
            "export": asdict(config),
        }
        with stage(context.folder, released.stage, inputs) as current:
            if current.done:
                continue
            if not len(part):
                raise UserError(
                    "the calibration split has no images: files are checked on it; raise data.splits.calibration"
                )
            log.print(f"exporting {name}")
            facts: dict[str, Json] = {"temperature": CheckpointFacts.read(source).temperature}
            with atomic_path(released.onnx) as partial:
                _OnnxFolder(partial, fuse(classifier), config, str(inputs["weights"])).write(part, facts)
            # The checkpoint is released as it is; branches are fused in the ONNX files only.
            with atomic_path(released.checkpoint) as partial:
                shutil.copytree(source, partial)
            folders = (released.checkpoint, released.onnx)
            current.wrote(path for folder in folders for path in folder.rglob("*") if path.is_file())


def export_baseline(
    context: RunContext, manifest: Manifest, config: ExportConfig, name: str, classifier: Classifier
) -> None:
    """Write ``students/NAME/model.onnx``, checked like any other, to be compared with and not to be released.

    Raises:
        UserError: the model cannot be exported, or its file does not give what PyTorch gives.
    """
    source = context.folder.student(name) / "model"
    path = baseline_file(context.folder, name).path
    inputs: Inputs = {
        "weights": file_digest(source / "model.safetensors"),
        "images": Rows.of_images(manifest, "calibration"),
        "export": {"opset": config.opset, "parity": config.parity},
    }
    with stage(context.folder, f"export-{name}", inputs) as current:
        if current.done:
            return
        log.print(f"exporting {name}")
        images = [load(uri) for uri in manifest.usable("calibration").column("uri")[:IMAGES]]
        fused = fuse(classifier)
        facts: dict[str, Json] = {"temperature": CheckpointFacts.read(source).temperature}
        with atomic_path(path) as partial:
            write_onnx(fused, partial, opset=config.opset, facts=facts)
            check_parity(fused, partial, images, config.parity)
        current.wrote([path])


@dataclass(frozen=True)
class _OnnxFolder:
    """One model's ONNX folder, while it is written."""

    folder: Path
    classifier: Classifier
    """With its branches fused."""
    config: ExportConfig
    weights: str
    """Digest of the checkpoint's ``model.safetensors``."""

    def write(self, part: Manifest, facts: dict[str, Json]) -> None:
        """Write every file.

        Args:
            part: usable images of the calibration split.
            facts: more metadata for every ONNX file.
        """
        tolerance = self.config.parity
        model = self.folder / FP32.path
        rgb = self.folder / RGB.path
        decoded, images = _load_calibration(part, self.classifier.spec, 2 * self.config.int8.images)
        write_onnx(self.classifier, model, opset=self.config.opset, facts=facts)
        reference = check_parity(self.classifier, model, decoded, tolerance, self.weights)
        fp16 = self._try_fp16(images) if self.config.fp16 else None
        self._try_int8(images)
        # The float32 body shows that the preprocessing is right; the smaller body, which is shipped, comes after.
        write_rgb(model, rgb)
        rgb_parity = check_rgb(model, rgb, decoded, tolerance)
        if (self.folder / INT8.path).is_file():
            write_rgb(self.folder / INT8.path, rgb)
        write_golden(self.folder / GOLDEN, rgb, model)
        for file in self.folder.rglob("*.onnx"):
            warn_of_places(file, file.read_bytes())
        # Formats are judged on the golden kit, so they come after it.
        temperature = facts["temperature"]
        assert isinstance(temperature, float)
        write_formats(self.folder, self.classifier, self.config.formats, tolerance, temperature)
        ParityRecord(reference, rgb_parity, fp16).write(self.folder)
        write_json(self.folder / "config.json", model_config(self.classifier.architecture, self.classifier.labels))
        write_json(self.folder / "preprocessor_config.json", preprocessor_config(self.classifier.spec))
        write_json(self.folder / "labels.json", self.classifier.labels.to_json())

    def _try_fp16(self, images: CalibrationImages) -> Fp16Facts | NotWritten:
        try:
            return write_fp16(self.folder / FP32.path, self.folder / FP16.path, images.pixels)
        except UserError as error:
            log.print(f"  no fp16 file: {error}", markup=False)
            return NotWritten(str(error))

    def _try_int8(self, images: CalibrationImages) -> None:
        if self.config.int8.mode == "none" or len(images.pixels) < 2:
            return
        result = quantize(self.folder / FP32.path, self.folder / INT8.path, images, self.config.int8)
        log.print(f"  {result.reason}")
        result.write(self.folder)


def _load_calibration(part: Manifest, spec: InputSpec, most: int) -> tuple[list[Image.Image], CalibrationImages]:
    """The first images decoded, for parity, and up to ``most`` as the model takes them; each is read once."""
    count = min(len(part), most)
    decoded: list[Image.Image] = []
    pixels = []
    for number, uri in enumerate(part.column("uri")[: max(IMAGES, count)]):
        image = load(uri)
        if number < IMAGES:
            decoded.append(image)
        if number < count:
            pixels.append(spec.normalize(spec.render(image)))
    return decoded, CalibrationImages(np.stack(pixels), part.targets()[:count], part.labeled()[:count])
