"""The layout of a release, and the files beside the model that other libraries read."""

from pathlib import Path

from data.labels import LabelSet
from export.formats import FORMATS
from models.outputs import problem_type
from models.spec import InputSpec
from run.files import Json

ONNX_FILE = Path("onnx/model.onnx")
"""The float32 model inside a ``NAME-onnx`` folder: the reference for the files made from it."""

FP16_FILE = Path("onnx/model_fp16.onnx")
INT8_FILE = Path("onnx/model_quantized.onnx")
RGB_FILE = Path("rgb.onnx")
"""Preprocessing, the INT8 model or, where there is none, the float32 one, and softmax or sigmoid, in one graph."""

FORMATS_FILE = Path("formats.json")
"""What the files for other runtimes take and give, and what was measured of each; there where some were asked for."""


def onnx_folder(name: str) -> str:
    """The release folder with a model's ONNX files; timm and transformers need one without them."""
    return f"{name}-onnx"


def shipped(folder: Path) -> list[Path]:
    """The model files of a ``NAME-onnx`` folder, the reference first, as paths inside it."""
    return [path for path in (ONNX_FILE, FP16_FILE, INT8_FILE, RGB_FILE) if (folder / path).is_file()]


def converted(folder: Path) -> list[Path]:
    """The files for other runtimes in a ``NAME-onnx`` folder, as paths inside it."""
    inside = [path for form in FORMATS.values() for path in (folder / form.path.parent).rglob("*")]
    return sorted(path.relative_to(folder) for path in inside if path.is_file())


def find_onnx(release: Path) -> Path:
    """The model file that a user means: a file itself, or the one inside a release folder."""
    return release if release.suffix == ".onnx" else release / ONNX_FILE


def javascript_config(architecture: str, labels: LabelSet) -> dict[str, Json]:
    """``config.json`` for transformers.js, which takes labels from ``id2label`` and knows no timm wrapper."""
    return {
        "model_type": "mobilenet_v4" if architecture.startswith("mobilenetv4") else "vit",
        "architecture": architecture,
        **problem_type(labels.kind),
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
        "num_labels": len(labels),
    }


def preprocessor_config(spec: InputSpec) -> dict[str, Json]:
    """``preprocessor_config.json`` for transformers.js."""
    side: dict[str, Json] = {"height": spec.size, "width": spec.size}
    center = spec.mode == "center"
    resize: dict[str, Json] = {"shortest_edge": int(spec.size / spec.crop_pct)} if center else side
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": resize,
        "resample": 3,
        "do_center_crop": center,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
