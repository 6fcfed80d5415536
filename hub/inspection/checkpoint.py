"""A timm model or a checkpoint inspected: first its shapes, which cost nothing, then its weights, export and speed."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from data.labels import LabelSet
from distill.config import TESTED
from export.config import ExportConfig
from export.libraries import first_line, library_errors
from export.limits import bounded_memory
from export.onnx_file import write_onnx
from export.reparameterize import fuse
from export.session import open_session
from hub.front_matter import CARD, license_of
from hub.inspection.graph import preprocessing
from hub.inspection.record import Inspection, Limits, ModelFile, OnnxReadiness, Teaching, Tensor, Timing
from hub.inspection.timing import time_call, try_session
from models.building import count_weights, failure_in, on_meta, open_checkpoint, own_labels, spec_of
from models.classifier import Classifier
from models.device import one_thread
from models.facts import KEY, read_config
from models.foreign import label_names
from models.names import architecture_of
from models.skeleton import skeleton_of
from run.console import log
from run.errors import UserError

TRIED = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
"""Sizes that are tried, in pixels a side."""
COUNTED = "matrix products and convolutions, as torch counts them"
CONFIG_KEY = "inspect"


@dataclass(frozen=True)
class _Subject:
    """A model to be looked at, and how to get its weights."""

    name: str
    shapes: nn.Module
    """It, with or without numbers."""
    architecture: str
    labels: LabelSet
    named: bool
    """Its labels have names."""
    get: Callable[[], Classifier]
    """Make it with its weights, where there are some; this may take minutes."""

    @property
    def cfg(self) -> dict[str, Any]:
        found: dict[str, Any] = self.shapes.pretrained_cfg  # type: ignore[assignment]
        return found


def inspect_timm(name: str, limits: Limits) -> Inspection:
    """One of timm's models by its name, with random weights: nothing that is looked at depends on them.

    Raises:
        UserError: timm has no such weights for it.
    """
    architecture = architecture_of(name)
    tag = name.partition(".")[2]
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(f"timm has {architecture}, and no weights {tag!r} for it: {', '.join(tags) or 'none at all'}")
    shapes = on_meta(name) or timm.create_model(name)
    labels = LabelSet(tuple(map(str, range(shapes.num_classes))), "nominal")  # type: ignore[arg-type]

    def get() -> Classifier:
        model = timm.create_model(name).eval()
        return Classifier(model, architecture, labels, spec_of(model))

    subject = _Subject(name, shapes.eval(), architecture, labels, named=False, get=get)
    license_name = subject.cfg.get("license")
    weights = subject.cfg.get("hf_hub_id")
    return _inspect(subject, limits, kind="timm model", license=license_name, weights=weights)


def inspect_checkpoint(folder: Path, name: str, limits: Limits) -> Inspection:
    """A folder that timm, transformers (a wrapper of a timm model) or PocketEVA wrote.

    Raises:
        UserError: it is damaged, or its weights are not those of its architecture.
    """
    config = read_config(folder)
    weights = folder / "model.safetensors"
    size = weights.stat().st_size if weights.is_file() else 0
    with bounded_memory(weights):
        shapes = skeleton_of(folder, name, CONFIG_KEY)
        if shapes is None:
            shapes = open_checkpoint(folder, name, CONFIG_KEY).model
        subject = _Subject(
            name,
            shapes.eval(),
            config["architecture"],
            own_labels(config, folder),
            named=KEY in config or label_names(config) is not None,
            get=lambda: open_checkpoint(folder, name, CONFIG_KEY),
        )
        files = (ModelFile(name=weights.name, bytes=size),) if size else ()
        return _inspect(subject, limits, kind="checkpoint", license=license_of(folder / CARD), files=files)


def _inspect(subject: _Subject, limits: Limits, **known: Any) -> Inspection:
    spec = spec_of(subject.shapes)
    weights = count_weights(subject.shapes)
    macs, counted = _macs(subject.shapes, spec.size)
    count = len(subject.labels)
    refusal = limits.refusal(weights, macs)
    ready, timing, why = (
        (OnnxReadiness(state="not tried", reason=refusal), None, refusal) if refusal else _run(subject, limits)
    )
    return Inspection(
        name=subject.name,
        architecture=subject.architecture,
        inputs=(Tensor(name="pixel_values", type="float", shape=("batch", 3, spec.size, spec.size)),),
        outputs=(Tensor(name="logits" if count else "features", type="float", shape=("batch", count or "width")),),
        preprocessing=preprocessing(spec, str(subject.cfg.get("interpolation"))[:20]),
        labels=subject.labels.names if subject.named else None,
        label_kind=subject.labels.kind if subject.named else None,
        num_labels=count or None,
        parameters=weights,
        macs=macs,
        macs_counted=counted,
        sizes=tuple(size for size in sorted({*TRIED, spec.size}) if failure_in(subject.shapes, size) is None),
        rebuilt=bool(subject.cfg.get("fixed_input_size")),
        onnx=ready,
        latency=timing,
        not_timed=why,
        teaching=_teaching(subject, weights),
        **known,
    )


def _macs(model: nn.Module, size: int) -> tuple[int | None, str]:
    """Multiplications for one image, counted without any numbers; timm's own counts are within a percent."""
    counter = FlopCounterMode(display=False)
    with counter:
        failed = failure_in(model, size)
    if failed is not None:
        return None, f"it cannot be run on an image: {first_line(failed)[:100]}"
    return counter.get_total_flops() // 2, COUNTED


def _run(subject: _Subject, limits: Limits) -> tuple[OnnxReadiness, Timing | None, str | None]:
    """Export and time it: in ONNX Runtime where the export succeeds, else in PyTorch."""
    classifier = subject.get()
    size = classifier.spec.size
    ready = OnnxReadiness(state="not tried", reason="--no-export")
    if limits.export:
        log.print("trying the export to ONNX, in a temporary folder")
        ready, timing, why = _exported(classifier)
        if timing or why:
            return ready, timing, why
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with one_thread(), torch.inference_mode():
            return ready, time_call(lambda: classifier.model(image), f"PyTorch {torch.__version__}"), None
    except (RuntimeError, ValueError) as error:
        return ready, None, f"it cannot be run: {first_line(error)[:200]}"


def _exported(classifier: Classifier) -> tuple[OnnxReadiness, Timing | None, str | None]:
    opset = ExportConfig().opset
    size = classifier.spec.size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        started = time.perf_counter()
        try:
            fused = fuse(classifier)
            write_onnx(fused, path, opset=opset, facts={})
            seconds = time.perf_counter() - started
            session = open_session(path, threads=1)
            difference = _difference(fused, session)
            # A file that takes no single image does not export, whatever it says of three.
            session.run(None, {"pixel_values": np.zeros((1, 3, size, size), np.float32)})
            ready = OnnxReadiness(
                state="exports",
                opset=opset,
                bytes=path.stat().st_size,
                seconds=round(seconds, 1),
                difference=float(f"{difference:.2g}"),
            )
            return ready, *try_session(session, {"pixel_values": [1, 3, size, size]})
        except library_errors(UserError, MemoryError) as error:
            return OnnxReadiness(state="fails", reason=first_line(error)[:300], opset=opset), None, None


def _difference(classifier: Classifier, session: Any) -> float:
    """Largest difference of a logit on three images of noise, relative to the largest logit."""
    size = classifier.spec.size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = classifier.model(images)
    found = torch.from_numpy(session.run(None, {"pixel_values": images.numpy()})[0])
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def _teaching(subject: _Subject, weights: int) -> Teaching:
    students = tuple(name for name, millions in TESTED.items() if 1e6 * millions <= weights)
    if not students:
        return Teaching(students=(), reason="none of the tested students is as small as it")
    count = len(subject.labels)
    head = (
        "as its head is for its own labels in their order; other labels get a new head in `pocketeva train`"
        if subject.named and count > 1
        else "once `pocketeva train` has given it a head for your labels"
    )
    return Teaching(students=students, reason=head)
