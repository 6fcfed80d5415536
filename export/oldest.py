"""The oldest ONNX Runtime that runs a file: from what is in it, by what was tried; cards and docs take it from here."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx

BY_OPSET = {18: "1.15", 19: "1.15", 20: "1.17"}
"""By version of the standard operator set. Files of 18 were run in 1.15.1, the oldest that installs for Python 3.11;
the others are from the runtime's own table of versions."""


class Need(NamedTuple):
    """Something in a file that an older runtime cannot run."""

    runtime: str
    """The oldest version that runs it."""
    what: str
    """In words, for people."""


PLAIN = Need("1.15", "float32, static and dynamic INT8, `rgb.onnx` of either, fp16 of convolutions")
HALF_NORM = Need("1.17", "fp16 with layer normalization, as transformers have it")
WEIGHTS = Need("1.22", "INT8 of weights alone, with activations in INT8")
WEIGHTS_FLOAT = Need("1.23", "INT8 of weights alone, with activations in float32")
NEEDS = (PLAIN, HALF_NORM, WEIGHTS, WEIGHTS_FLOAT)
"""As files of operator set 18 were tried, on a CPU, in 1.15.1, 1.16.3, 1.17.0, 1.17.3, 1.18.1, 1.20.1, 1.21.1, 1.22.0,
1.22.1 and 1.23.2."""


def oldest_runtime(path: Path) -> str:
    """The oldest version of ONNX Runtime, such as ``1.15``, that is known to run a file."""
    model = onnx.load(path, load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    found = [BY_OPSET.get(opset, "1.17"), *(need.runtime for need in _needs(model))]
    return max(found, key=lambda version: [int(part) for part in version.split(".")])


def _needs(model: onnx.ModelProto) -> Iterator[Need]:
    half = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" and half.intersection(node.input):
            yield HALF_NORM
        if node.op_type == "MatMulNBits":
            levels = [attribute.i for attribute in node.attribute if attribute.name == "accuracy_level"]
            yield WEIGHTS if 4 in levels else WEIGHTS_FLOAT
