"""Files beside an ONNX model that transformers.js reads."""

from data.labels import LabelSet
from models.facts import label_maps, problem_type
from models.spec import InputSpec
from run.files import Json


def model_config(architecture: str, labels: LabelSet) -> dict[str, Json]:
    """``config.json``: transformers.js takes labels from ``id2label`` and knows no timm wrapper.

    Its own default in WASM is ``model_quantized.onnx``, which not every release has, and which WASM rounds otherwise
    than where it was judged (docs/benchmarks.md). Here it is ``model.onnx`` everywhere.
    """
    return {
        "model_type": "mobilenet_v4" if architecture.startswith("mobilenetv4") else "vit",
        "architecture": architecture,
        **problem_type(labels),
        **label_maps(labels),
        "num_labels": len(labels),
        "transformers.js_config": {"dtype": "fp32"},
    }


def preprocessor_config(spec: InputSpec) -> dict[str, Json]:
    """``preprocessor_config.json``."""
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
