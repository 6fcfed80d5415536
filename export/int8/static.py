"""Static INT8 for convolutional networks: ONNX Runtime's quantizer with ranges from real images."""

import itertools
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from export.images import Pixels
from export.int8.result import Candidate
from export.libraries import quietly
from export.onnx_graph import drop_unused_weights

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators that the sensitivity pass may leave in fp32."""

ACTIVATIONS = ("Relu", "Clip")
"""Operators that ONNX Runtime fuses into the layer before them."""

POOLING = ("ReduceMean", "GlobalAveragePool")


def candidates(mode: Literal["quick", "full"]) -> list[Candidate]:
    """Settings to try, nothing left out of them."""
    methods = ("MinMax",) if mode == "quick" else ("MinMax", "Entropy", "Percentile")
    activations = ("QUInt8",) if mode == "quick" else ("QUInt8", "QInt8")
    return [
        Candidate(method, per_channel, activation)
        for method, per_channel, activation in itertools.product(methods, (False, True), activations)
    ]


class StaticQuantizer:
    """Makes QDQ files from one prepared model; ranges are taken once per method and kept beside it.

    Args:
        prepared: what ``quant_pre_process`` made of the model.
        pixels: images for the ranges [N, 3, S, S].
    """

    def __init__(self, prepared: Path, pixels: Pixels) -> None:
        self._prepared = prepared
        self._pixels = pixels

    def write(self, path: Path, candidate: Candidate, only: tuple[str, ...] = ()) -> None:
        """Quantize all layers but the excluded ones, or only the nodes of these names.

        Behind the last pooling only weights are INT8: 256 levels of pooled features and logits are too few for their
        small differences, and of one pixel, float costs no time.
        """
        behind = self._behind_pooling
        with quietly():
            quantize_static(
                self._prepared,
                path,
                _Images(self._pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=candidate.per_channel,
                activation_type=QuantType[candidate.activation],
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[candidate.method],
                nodes_to_exclude=[*candidate.excluded, *behind],
                reduce_range=True,  # to 7 bits of weights: of 8, processors without VNNI add pairs in too few bits
                nodes_to_quantize=list(only),
                extra_options={"CalibStridedMinMax": 1, "OpTypesToExcludeOutputQuantization": ["Gemm"]},
                calibration_cache_path=self._prepared.with_name(f"{candidate.method}.json"),
            )
        if not only:
            quantize_weights(path, behind)

    def layers(self) -> list[tuple[str, ...]]:
        """Names of each node with weights and of the activation that runs fused with it, in the order of the graph.

        The two belong together: without its Relu, a convolution is quantized over negative values that nothing reads.
        """
        graph = onnx.load(self._prepared, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        fused = {node.input[0]: node.name for node in graph.node if node.op_type in ACTIVATIONS}
        return [
            tuple(name for name in (node.name, fused.get(node.output[0])) if name)
            for node in graph.node
            if node.op_type in LAYERS and node.input[1] in weights and node.name not in self._behind_pooling
        ]

    @cached_property
    def _behind_pooling(self) -> tuple[str, ...]:
        """Names of the nodes behind the last pooling; none where there is no pooling."""
        nodes = onnx.load(self._prepared, load_external_data=False).graph.node
        pooled = [place for place, node in enumerate(nodes) if node.op_type in POOLING]
        return tuple(node.name for node in nodes[pooled[-1] :]) if pooled else ()

    def convolutions(self) -> int:
        return sum(node.op_type == "Conv" for node in onnx.load(self._prepared, load_external_data=False).graph.node)


def quantize_weights(path: Path, names: Collection[str]) -> None:
    """Store the weights of the nodes of these names as INT8, with a scale for each output; they compute in float.

    Runtimes make float weights of them when they open the file, so it is smaller and no slower.
    """
    model = onnx.load(path)
    graph = model.graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.name in names and node.op_type in LAYERS and node.input[1] in weights]
    for node in layers:
        values = weights[node.input[1]]
        axis = _output_axis(node, values.ndim)
        others = tuple(place for place in range(values.ndim) if place != axis)
        scales = np.maximum(np.abs(values).max(others, keepdims=True) / 127, np.finfo(np.float32).tiny)
        stored = {
            f"{node.name}_int8": np.round(values / scales).astype(np.int8),
            f"{node.name}_scale": scales.ravel(),
            # May be left out, but ONNX Runtime's exact mode looks for them.
            f"{node.name}_zero": np.zeros(scales.size, np.int8),
        }
        graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in stored.items())
        # One for each layer, even of shared weights: the exact mode takes only tensors that a single layer reads.
        node.input[1] = f"{node.name}_float"
        dequantize = onnx.helper.make_node("DequantizeLinear", list(stored), [node.input[1]], node.input[1], axis=axis)
        graph.node.insert(0, dequantize)
    drop_unused_weights(model)
    onnx.save(model, path)


def _output_axis(node: onnx.NodeProto, dimensions: int) -> int:
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else dimensions - 1


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Batches of images; the quantizer asks for one range of them after the other."""

    def __init__(self, pixels: Pixels, batch: int = 32) -> None:
        self._pixels = pixels
        self._batch = batch
        self.set_range(0, len(self))

    def __len__(self) -> int:
        return -(-len(self._pixels) // self._batch)

    def set_range(self, start_index: int, end_index: int) -> None:
        starts = range(start_index * self._batch, min(end_index * self._batch, len(self._pixels)), self._batch)
        self._turn: Iterator[NDArray[np.float32]] = (self._pixels[i : i + self._batch] for i in starts)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._turn, None)
        return None if batch is None else {"pixel_values": batch}
