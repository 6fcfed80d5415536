"""Weights and multiplications of an ONNX graph, from its shapes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import shape_inference

from export.libraries import library_errors

WEIGHTS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Convolutions, and which of their inputs the weights are."""
MULTIPLY = (*WEIGHTS, "Gemm", "MatMul", "MatMulInteger", "MatMulNBits", "QLinearMatMul")
COUNTED = "Conv, MatMul and Gemm, by their shapes"
_INDICES = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)
"""Types of shapes and axes, and of no weights."""

Shapes = Mapping[str, Sequence[int]]


def count(path: Path, inputs: Shapes) -> tuple[int, int | None, str]:
    """Weights, and multiplications of one run.

    Args:
        inputs: their shapes in that run.

    Returns:
        Weights; multiplications, null where shapes are not known; and what was counted, or why not.
    """
    model = onnx.load(path, load_external_data=False)
    weights = sum(math.prod(tensor.dims) for tensor in _tensors(model.graph) if tensor.data_type not in _INDICES)
    try:
        shapes = _shapes(model, inputs)
    except library_errors(ValueError) as error:
        return weights, None, f"its shapes cannot be inferred: {str(error)[:100]}"
    counts = [_of(node, shapes) for node in model.graph.node if node.op_type in MULTIPLY]
    unknown = sum(one is None for one in counts)
    if unknown:
        return weights, None, f"the shapes of {unknown} of {len(counts)} nodes that multiply are not known"
    return weights, sum(one or 0 for one in counts), COUNTED


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from (attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute)


def _shapes(model: onnx.ModelProto, inputs: Shapes) -> Shapes:
    """Shapes of all tensors, where every side is known."""
    for given in model.graph.input:
        for side, length in zip(given.type.tensor_type.shape.dim, inputs.get(given.name, ()), strict=False):
            side.dim_value = length
    # What the exporter noted for any batch would stand against the batch of this run.
    model.graph.ClearField("value_info")
    for given in model.graph.output:
        given.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    known = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if all(side.HasField("dim_value") for side in value.type.tensor_type.shape.dim)
    }
    return known | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _of(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Multiplications of one node; null where a shape is not known."""
    made = shapes.get(node.output[0])
    first = shapes.get(node.input[0])
    if not made or not first:
        return None
    if node.op_type in WEIGHTS:
        weights = shapes.get(node.input[WEIGHTS[node.op_type]])
        return math.prod(made) * math.prod(weights[1:]) if weights else None
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(made) * first[0 if turned else -1]
