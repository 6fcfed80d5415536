"""fp16 files: half the bytes, float32 in and out, refused where a number does not fit."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from export.divergence import Divergence
from export.images import Pixels, logits_of
from export.libraries import quietly
from export.metadata import read_contract
from export.onnx_graph import metadata_of, seal
from export.parity_record import Fp16Facts
from export.points.fitter import RuleFitter, set_rule
from export.session import open_session
from run.errors import UserError
from run.files import atomic_path, file_digest

LARGEST = float(np.finfo(np.float16).max)
"""The largest number that fp16 can hold, 65504."""

INSIDE = 32
"""Images for which every inner tensor is looked at."""


def write_fp16(source: Path, path: Path, pixels: Pixels, fitter: RuleFitter | None = None) -> Fp16Facts:
    """Write an fp16 copy of an fp32 file, which takes and gives float32.

    A CPU may compute in float32 and so hide an overflow that a phone would have: that is why all weights and, for some
    images, all inner tensors of the fp32 file are looked at too.

    Args:
        source: the fp32 ``model.onnx``.
        pixels: images as the model takes them [N, 3, S, S].
        fitter: fits the file's own decision rule; null takes that of the fp32 file.

    Raises:
        UserError: a number does not fit into fp16, or a logit is not finite; no file is left behind.
    """
    assert len(pixels), "fp16 is checked on images"
    model = onnx.load(source)
    # np.max, because Python's max passes over NaN.
    largest = float(np.max([_largest_weight(model), _largest_inside(model, pixels[:INSIDE])]))
    if not largest <= LARGEST:
        raise UserError(
            f"{path.name} was not written: a number inside reaches {largest:.3g}, and fp16 ends at {LARGEST:g}"
        )
    with quietly():  # of weights that are rounded to zero; their effect is measured below
        # Loaded anew: the converter changes the model that it is given.
        half = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    with atomic_path(path) as partial:
        partial.write_bytes(seal(half, model, {"quantization": {"method": "fp16"}}))
        ours = logits_of(partial, pixels)
        if not np.isfinite(ours).all():
            raise UserError(f"{path.name} was not written: some of its logits are not finite in fp16")
        rule = read_contract(metadata_of(model), source).rule
        own = rule if fitter is None else fitter.fit(partial).rule
        set_rule(partial, own)
    theirs = logits_of(source, pixels)
    divergence = Divergence.of(ours, theirs, rule, own)
    return Fp16Facts(
        **asdict(divergence),
        largest_inside=largest,
        bytes=path.stat().st_size,
        sha256=file_digest(path),
    )


def _largest_weight(model: onnx.ModelProto) -> float:
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return max(_magnitude(onnx.numpy_helper.to_array(tensor)) for tensor in floats)


def _largest_inside(model: onnx.ModelProto, pixels: NDArray[np.float32]) -> float:
    """The largest magnitude of any float tensor between two nodes, NaN if there is one; images [n, 3, S, S]."""
    shown = onnx.shape_inference.infer_shapes(model)
    known = {value.name for value in shown.graph.output}
    inside = [value for value in shown.graph.value_info if value.name not in known]
    shown.graph.output.extend(v for v in inside if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shown.onnx"
        onnx.save(shown, path)
        every = open_session(path, optimize=False)
        found = [_magnitude(value) for image in pixels for value in every.run(None, {"pixel_values": image[None]})]
    return float(np.max(found))


def _magnitude(values: NDArray[np.float32]) -> float:
    return float(np.abs(values).max(initial=0.0))
