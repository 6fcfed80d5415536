"""The resize of ``rgb.onnx`` as a graph of its own, for what compares pixels: ``benchmarks.parity`` and tests."""

import onnx
import onnx.parser

from export.resize_graph import constants, nodes
from models.spec import InputSpec


def resizing(spec: InputSpec) -> onnx.ModelProto:
    """``image`` uint8 [height, width, 3] → ``rgb_pixels`` uint8 [1, 3, S, S]."""
    size = spec.size
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 18]>
        rgb_resize (uint8[height, width, 3] image) => (uint8[1, 3, {size}, {size}] rgb_pixels) <
            {constants(spec)}
        > {{
            {nodes(spec)}
        }}"""
    )
