"""The resize of timm, and so of transformers: one call of Pillow's, on some images with other pixels than ours."""

from pathlib import Path

import numpy as np
import PIL
import timm
from PIL import Image

from export.golden.kit import GoldenIndex, read_pixels
from export.parity_record import OtherResize
from export.release import FP32
from export.runtime import OnnxClassifier


def compare_timm(folder: Path) -> OtherResize:
    """Run ``model.onnx`` on the golden images as timm prepares them, and compare with its scores in the kit.

    Args:
        folder: a ``NAME-onnx`` folder with its golden kit.
    """
    index = GoldenIndex.read(folder)
    data = timm.data.resolve_data_config({}, pretrained_cfg=index.spec.to_pretrained_cfg())
    prepare = timm.data.create_transform(**data, is_training=False)
    images = [Image.fromarray(read_pixels(folder, entry.rgb)) for entry in index.images]
    logits = OnnxClassifier(folder / FP32.path, threads=1).logits(
        np.stack([prepare(image).numpy() for image in images])
    )
    return OtherResize.of(f"timm {timm.__version__} with Pillow {PIL.__version__}", index, logits)
