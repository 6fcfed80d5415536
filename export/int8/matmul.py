"""INT8 for transformers: the weights of matrix products only. Convolutions and attention stay as they are."""

from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.int8.result import Candidate
from export.libraries import quietly

BLOCK = 128
"""Weights that share a scale in a weight-only file."""

METHODS = ("dynamic", "weight-only")


def candidates(mode: Literal["quick", "full"]) -> list[Candidate]:
    """Settings to try. Dynamic files find the scales of activations in each batch that they are given."""
    dynamic = [Candidate("dynamic", per_channel, "QUInt8") for per_channel in (True, False)]
    weight_only = [Candidate("weight-only", True, activation) for activation in ("QInt8", "float32")]
    return dynamic[:1] + weight_only[:1] if mode == "quick" else dynamic + weight_only


class MatMulQuantizer:
    """Makes files from one prepared model.

    Args:
        prepared: what ``quant_pre_process`` made of the model.
    """

    def __init__(self, prepared: Path) -> None:
        self._prepared = prepared

    def products(self) -> int:
        """Count the matrix products with constant weights."""
        graph = onnx.load(self._prepared, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        return sum(node.op_type == "MatMul" and node.input[1] in weights for node in graph.node)

    def write(self, path: Path, candidate: Candidate) -> None:
        """Quantize every matrix product with constant weights."""
        with quietly():
            if candidate.method == "dynamic":
                quantize_dynamic(
                    self._prepared,
                    path,
                    op_types_to_quantize=["MatMul"],
                    per_channel=candidate.per_channel,
                    reduce_range=True,  # to 7 bits, as in static files
                    weight_type=QuantType.QInt8,
                )
            else:
                self._write_weight_only(path, candidate)

    def _write_weight_only(self, path: Path, candidate: Candidate) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        model = onnx.load(self._prepared)
        level = 4 if candidate.activation == "QInt8" else 0
        quantizer = MatMulNBitsQuantizer(model, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=level)
        quantizer.process()
        onnx.save(quantizer.model.model, path)
