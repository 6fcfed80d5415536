"""Stage 3: write the release, every byte that will be judged."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from data.changes import Rows
from data.loaders import load
from data.manifest import Manifest
from export.config import ExportConfig
from export.formats.write import write_formats
from export.fp16 import write_fp16
from export.golden.kit import GOLDEN
from export.golden.write import write_golden
from export.images import RenderedImages
from export.int8.judge import SweepImages
from export.int8.quantize import quantize
from export.javascript import model_config, preprocessor_config
from export.onnx_file import write_onnx
from export.onnx_graph import warn_of_places
from export.page.write import Page
from export.parity import IMAGES, check_parity, check_rgb, compare_timm
from export.parity_record import Fp16Facts, NotWritten, ParityRecord, RgbParity
from export.points.config import DecisionConfig
from export.points.fitter import RuleFitter, set_rule
from export.points.record import FileRule, ThresholdsRecord
from export.release import FP16, FP32, INT8, RGB, FileKind, Release, baseline_file
from export.reparameterize import fuse
from export.rgb import write_rgb
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.console import log
from run.context import RunContext
from run.errors import UserError
from run.files import atomic_path, file_digest, write_json
from run.stage import Inputs, stage

ARGMAX = DecisionConfig(method="argmax")
"""The decision where a config asks for no other."""


def export(
    context: RunContext,
    manifest: Manifest,
    config: ExportConfig,
    models: Mapping[str, Classifier],
    decision: DecisionConfig = ARGMAX,
    *,
    blur: bool = False,
) -> None:
    """Write ``release/NAME`` and ``release/NAME-onnx`` for each model, and remove the folders of models long gone.

    Args:
        manifest: its calibration images serve to check parity; INT8 takes ranges from training images and is judged on
            validation and calibration images.
        models: the teacher and the students, by the name of their release folder.
        decision: that every file ships with; operating points are fitted to each file's scores of calibration images.
        blur: students' pages blur images until they are clicked.

    Raises:
        UserError: a model cannot be exported, its file does not give what PyTorch gives, or an operating point cannot
            be kept.
    """
    release = Release(context.folder.release)
    # First, because whatever lies in the release is taken to belong to it by every later stage.
    release.keep_only(models)
    for name, classifier in models.items():
        released = release.model(name)
        source = (context.folder.teacher if released.role == "teacher" else context.folder.student(name)) / "model"
        # A teacher is too large for a browser.
        page = Page(name=f"{context.folder.root.name}: {name}", blur=blur) if released.role == "student" else None
        inputs: Inputs = {
            "weights": file_digest(source / "model.safetensors"),
            "config": file_digest(source / "config.json"),
            "images": Rows.of_images(manifest, "train", "val", "calibration"),
            "export": asdict(config),
            "decision": asdict(decision),
            "page": asdict(page) if page else None,
        }
        with stage(context.folder, released.stage, inputs) as current:
            if current.done:
                continue
            if not len(manifest.usable("calibration")):
                raise UserError(
                    "the calibration split has no images: files are checked on it; raise data.splits.calibration"
                )
            log.print(f"exporting {name}")
            temperature = CheckpointFacts.read(source).temperature
            with atomic_path(released.onnx) as partial:
                weights = str(inputs["weights"])
                _OnnxFolder(partial, fuse(classifier), config, weights, manifest, decision, page).write(temperature)
            # The checkpoint is released as it is; branches are fused in the ONNX files only.
            with atomic_path(released.checkpoint) as partial:
                shutil.copytree(source, partial)
            folders = (released.checkpoint, released.onnx)
            current.wrote(path for folder in folders for path in folder.rglob("*") if path.is_file())


def export_baseline(
    context: RunContext,
    manifest: Manifest,
    config: ExportConfig,
    name: str,
    classifier: Classifier,
    decision: DecisionConfig = ARGMAX,
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
        "decision": decision.method,
    }
    with stage(context.folder, f"export-{name}", inputs) as current:
        if current.done:
            return
        log.print(f"exporting {name}")
        images = [load(uri) for uri in manifest.usable("calibration").column("uri")[:IMAGES]]
        fused = fuse(classifier)
        temperature = CheckpointFacts.read(source).temperature
        with atomic_path(path) as partial:
            write_onnx(fused, partial, opset=config.opset, facts={"temperature": temperature})
            # Without operating points: it is never shipped, and what it cannot keep must not stop the run.
            set_rule(partial, decision.rule(manifest.labels))
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
    manifest: Manifest
    decision: DecisionConfig
    page: Page | None

    def write(self, temperature: float) -> None:
        """Write every file; the temperature, which is in the weights already, is noted in each."""
        tolerance = self.config.parity
        model = self.folder / FP32.path
        decoded = [load(uri) for uri in self.manifest.usable("calibration").column("uri")[:IMAGES]]
        write_onnx(self.classifier, model, opset=self.config.opset, facts={"temperature": temperature})
        found = self._fitter.fit(model)
        # Before its parity is checked, because the record of that is bound to the file's digest.
        set_rule(model, found.rule)
        reference = check_parity(self.classifier, model, decoded, tolerance, self.weights)
        fp16 = self._try_fp16()
        self._try_int8()
        rgb_parity, rgb_rule = self._write_rgb(decoded)
        smaller = [kind for kind in (FP16, INT8) if (self.folder / kind.path).is_file()]
        rules = {kind: self._fitter.fit(self.folder / kind.path) for kind in smaller}
        self._record({FP32: found, **rules, RGB: rgb_rule})
        write_golden(self.folder / GOLDEN, self.folder / RGB.path, model)
        for file in self.folder.rglob("*.onnx"):
            warn_of_places(file, file.read_bytes())
        # Formats are judged on the golden kit, so they come after it.
        write_formats(self.folder, self.classifier, self.config.formats, tolerance, temperature)
        ParityRecord(reference, rgb_parity, fp16, compare_timm(self.folder)).write(self.folder)
        write_json(self.folder / "config.json", model_config(self.classifier.architecture, self.classifier.labels))
        write_json(self.folder / "preprocessor_config.json", preprocessor_config(self.classifier.spec))
        write_json(self.folder / "labels.json", self.classifier.labels.to_json())
        if self.page:
            self.page.write(self.folder)

    def _write_rgb(self, decoded: Sequence[Image.Image]) -> tuple[RgbParity, FileRule]:
        full, small, rgb = (self.folder / kind.path for kind in (FP32, INT8, RGB))
        # The float32 body shows that the preprocessing is right; the smaller body, which is shipped, comes after.
        write_rgb(full, rgb)
        parity = check_rgb(full, rgb, decoded, self.config.parity)
        body = small if small.is_file() else full
        if body != full:
            if self.page:
                self.page.keep_float(rgb, self.folder)
            write_rgb(body, rgb)
        found = self._fitter.fit_rgb(rgb)
        if found.points:
            write_rgb(body, rgb, found.rule)
        return parity, found

    def _record(self, rules: Mapping[FileKind, FileRule]) -> None:
        """Write ``thresholds.json``, and say what the points of each file do."""
        files = {kind.path.as_posix(): found for kind, found in rules.items()}
        ThresholdsRecord(labels=self.classifier.labels, files=files).write(self.folder)
        for kind, found in rules.items():
            for point in found.points:
                log.print(f"  {kind.name}: {point}", soft_wrap=True)

    @cached_property
    def _fitter(self) -> RuleFitter:
        return RuleFitter.of(self.manifest, self.decision, self.classifier.spec)

    def _try_fp16(self) -> Fp16Facts | NotWritten:
        why = "export.fp16 is false"
        if self.config.fp16:
            try:
                full, half = (self.folder / kind.path for kind in (FP32, FP16))
                return write_fp16(full, half, self._sweep_images.judged, self._fitter)
            except UserError as error:
                why = str(error)
        log.print(f"  no fp16 file: {why}", soft_wrap=True)
        return NotWritten(why)

    def _try_int8(self) -> None:
        full, small = (self.folder / kind.path for kind in (FP32, INT8))
        result = quantize(full, small, self._sweep_images, self.config.int8, self._fitter)
        log.print(f"  {result.reason}", soft_wrap=True)
        result.write(self.folder)

    @cached_property
    def _sweep_images(self) -> SweepImages:
        """Training images for ranges, and others to judge smaller files on; none where no such file is asked for.

        What an INT8 file is chosen on must not fit its ranges, and its bound needs independent draws.
        """
        int8 = self.config.int8
        wanted = int8.mode != "none"
        ranges = self.manifest.usable("train").one_per_group()[: int8.images if wanted else 0]
        # Calibration images are for points, where there are any: nothing that a score depends on may be chosen on them.
        splits = ("val",) if self.decision.points else ("val", "calibration")
        most = int8.judged if wanted or self.config.fp16 else 0
        judged = self.manifest.usable(*splits).one_per_group()[:most]
        return SweepImages(
            RenderedImages(ranges.column("uri"), self.classifier.spec),
            RenderedImages(judged.column("uri"), self.classifier.spec),
            judged.targets(),
            judged.labeled(),
        )
