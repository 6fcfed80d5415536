"""Models with random weights, for figures of speed, size and memory: these do not depend on what a model has learnt."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from data.labels import LabelSet
from export.int8 import Int8Result, quantize
from export.int8_config import Int8Config
from export.onnx_file import write_onnx
from export.reparameterize import fuse
from models.classifier import Classifier, size_args, spec_of
from models.temperature import fit_temperature

LABELS = LabelSet(("none", "mild", "moderate", "severe"), "ordinal")

ANY = Int8Config(mode="quick", max_flip_rate=0.999, min_speedup=1e-9)
"""A gate that lets all pass: what random weights choose means nothing."""


def photographs(count: int) -> list[Image.Image]:
    """Real photographs of the ``demo`` extra."""
    spec = find_spec("elpv_dataset")
    assert spec is not None, "install the demo extra: its photographs are needed"
    assert spec.origin is not None
    paths = sorted((Path(spec.origin).parent / "data" / "images").glob("*.png"))[:count]
    return [Image.open(path).convert("RGB") for path in paths]


def random_classifier(name: str, size: int, images: list[Image.Image]) -> Classifier:
    """A timm model whose batch norms have seen the images, or its numbers would overflow; they squash their input."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=len(LABELS), **size_args(name, size))
    classifier = Classifier(model, name, LABELS, spec_of(model).with_size(size).squashed())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        model.train()(torch.from_numpy(pixels_of(classifier, images)))
    model.eval()
    return classifier


def pixels_of(classifier: Classifier, images: list[Image.Image]) -> NDArray[np.float32]:
    """The images as the model takes them [N, 3, S, S]."""
    return classifier.spec.normalise(np.stack([classifier.spec.render(image) for image in images]))


def export_both(classifier: Classifier, folder: Path, images: list[Image.Image]) -> tuple[Path, Path, Int8Result]:
    """The fp32 and the INT8 file of a model, fused where it can be, and how the latter was found."""
    full, quantised = folder / "model.onnx", folder / "model_quantized.onnx"
    write_onnx(fuse(classifier), full, opset=18, facts={})
    targets = np.zeros((len(images), len(LABELS)), np.float32)
    labelled = np.zeros(len(images), np.bool_)
    result = quantize(full, quantised, pixels_of(classifier, images), targets, labelled, ANY, fit_temperature)
    return full, quantised, result


def machine() -> str:
    """Processor, cores and runtime."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = found[0] if found else name
    return f"{name}, {os.cpu_count()} cores, onnxruntime {ort.__version__}"
