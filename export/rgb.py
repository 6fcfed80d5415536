"""``rgb.onnx``: decoded pixels straight in, probabilities out; all that lies between is in the graph. No torch here.

The resize contract is ``data.resize.resize``: two bicubic passes, width first, each rounded to 8 bits. The graph does
Pillow's own integer arithmetic with plain operators, so that every pixel is equal. ONNX Runtime's Resize on uint8 comes
close in less time, but its coordinates are in float32: one pixel in a few thousand is a level or two off, and
that alone moved a score of a small trained model by 9e-4.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import onnx.parser
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image

from data.labels import LabelSet
from export.runtime import OnnxClassifier
from models.outputs import exclusive
from models.spec import InputSpec
from run.errors import UserError
from run.files import Json, atomic_path, file_digest

DECODE = (
    "8-bit RGB, first frame, EXIF orientation applied, transparency over white, palette, grey, 16-bit grey and CMYK "
    "converted to RGB, ICC profiles not applied"
)
"""What ``image`` has to be: the decode contract of ``data.decode`` in one line."""

_UNIT = 2**22
"""Pillow's unit for filter weights (``PRECISION_BITS`` in its ``Resample.c``)."""

_FLOAT, _UINT8 = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.UINT8)
_INT32, _INT64 = int(onnx.TensorProto.INT32), int(onnx.TensorProto.INT64)
_DOUBLE = int(onnx.TensorProto.DOUBLE)


class RgbClassifier(OnnxClassifier):
    """An ``rgb.onnx``: takes decoded images of any size, one at a time."""

    def outputs(self, image: Image.Image) -> dict[str, NDArray[np.float32]]:
        """``probabilities`` [C] of a decoded image, and ``scores`` [C] where the labels are ordinal."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {"image": np.asarray(image)}), strict=True))

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities [B, C] of decoded images."""
        return np.stack([self.outputs(image)["probabilities"] for image in images])


def write_rgb(body: Path, path: Path) -> None:
    """Put preprocessing before, and softmax or sigmoid after, a model that this project exported.

    The file takes ``image`` uint8 [height, width, 3] and gives ``probabilities`` float32 [C], and for ordinal labels
    ``scores`` [C]: the probability of each label or a more severe one. The temperature is in the body's weights. The
    body's metadata is carried over; ``decode``, ``body`` (its SHA-256) and ``outputs`` are added.

    Args:
        body: ``pixel_values`` float32 [batch, 3, S, S] → ``logits`` [batch, C], in float32, float16 or INT8.
        path: replaced if it is there.

    Raises:
        UserError: the body does not carry labels and input contract.
    """
    model = onnx.load(body)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "labels" not in metadata or "input" not in metadata:
        raise UserError(f"{body} does not carry labels and input contract: it was not exported by PocketEVA")
    labels = LabelSet.of_json(json.loads(metadata["labels"]))
    spec = InputSpec.from_pretrained_cfg(json.loads(metadata["input"]))
    before = preprocessing(spec, like=model)
    after = _postprocessing(labels, like=model)
    whole = onnx.compose.merge_models(before, model, io_map=[("pixel_values", "pixel_values")])
    whole = onnx.compose.merge_models(whole, after, io_map=[("logits", "logits")])
    whole.ClearField("opset_import")  # merging repeats it
    whole.opset_import.extend(model.opset_import)
    facts: dict[str, Json] = {
        "decode": DECODE,
        "body": file_digest(body),
        "outputs": [output.name for output in whole.graph.output],
    }
    metadata |= {key: json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(whole, dict(sorted(metadata.items())))
    whole.graph.name, whole.producer_name, whole.producer_version = "rgb", "pocketeva", ""
    onnx.checker.check_model(whole, full_check=True)
    with atomic_path(path) as partial:
        partial.write_bytes(whole.SerializeToString(deterministic=True))


def preprocessing(spec: InputSpec, like: ModelProto) -> ModelProto:
    """``image`` uint8 [height, width, 3] → ``pixel_values`` float32 [1, 3, S, S], as ``InputSpec`` does it.

    Args:
        spec: the contract.
        like: gives operator set and IR version.
    """
    size = spec.size
    return _parse(
        like,
        f"""rgb_before (uint8[height, width, 3] image) => (float[1, 3, {size}, {size}] pixel_values) <
            {_constants(spec)},
            float rgb_white = {{255.0}},
            float[1, 3, 1, 1] rgb_mean = {{{_numbers(spec.mean)}}},
            float[1, 3, 1, 1] rgb_std = {{{_numbers(spec.std)}}}
        > {{
            {_resize(spec)}
            rgb_values = Cast <to = {_FLOAT}> (rgb_pixels)
            rgb_scaled = Div (rgb_values, rgb_white)
            rgb_centred = Sub (rgb_scaled, rgb_mean)
            pixel_values = Div (rgb_centred, rgb_std)
        }}""",
    )


def resizing(spec: InputSpec, like: ModelProto) -> ModelProto:
    """The first part alone: ``image`` uint8 [height, width, 3] → ``rgb_pixels`` uint8 [1, 3, S, S]."""
    size = spec.size
    return _parse(
        like,
        f"""rgb_resize (uint8[height, width, 3] image) => (uint8[1, 3, {size}, {size}] rgb_pixels) <
            {_constants(spec)}
        > {{
            {_resize(spec)}
        }}""",
    )


def _constants(spec: InputSpec) -> str:
    """What ``_resize`` refers to."""
    size, short = spec.size, int(spec.size / spec.crop_pct)
    squash = f"int64[2] rgb_whole = {{{size}, {size}}}, int64[2] rgb_corner = {{0, 0}}"
    center = f"int64[1] rgb_short = {{{short}}}"
    return f"""
            {center if spec.mode == "center" else squash},
            int64[1] rgb_size = {{{size}}}, int64 rgb_count = {{{size}}}, int64 rgb_0 = {{0}}, int64 rgb_1 = {{1}},
            int64[1] rgb_first_axis = {{0}}, int64[1] rgb_second_axis = {{1}}, int64[2] rgb_pixel_axes = {{2, 3}},
            double rgb_0d = {{0.0}}, double rgb_half = {{0.5}}, double rgb_1d = {{1.0}}, double rgb_2d = {{2.0}},
            double rgb_near_3 = {{1.5}}, double rgb_near_2 = {{2.5}}, double rgb_far_3 = {{-0.5}},
            double rgb_4d = {{4.0}}, double rgb_5d = {{5.0}}, double rgb_8d = {{8.0}},
            double rgb_unit_double = {{{float(_UNIT)}}},
            int32 rgb_unit = {{{_UNIT}}}, int32 rgb_black = {{0}}, int32 rgb_full = {{255}}"""


def _resize(spec: InputSpec) -> str:
    """Nodes from ``image`` to ``rgb_pixels``. Each pass resizes the first axis, so that whole lines are added."""
    assert spec.crop_pct <= 1, "a crop larger than the image"
    return f"""
            {_CENTER if spec.mode == "center" else ""}
            rgb_whole_height, rgb_whole_width = Split <axis = 0, num_outputs = 2> (rgb_whole)
            rgb_top, rgb_left = Split <axis = 0, num_outputs = 2> (rgb_corner)
            rgb_columns = Transpose <perm = [1, 0, 2]> (image)
            {_pass("width", "rgb_columns", "rgb_whole_width", "rgb_left", "rgb_narrow")}
            rgb_rows = Transpose <perm = [1, 0, 2]> (rgb_narrow)
            {_pass("height", "rgb_rows", "rgb_whole_height", "rgb_top", "rgb_small")}
            rgb_planes = Transpose <perm = [2, 0, 1]> (rgb_small)
            rgb_pixels = Unsqueeze (rgb_planes, rgb_first_axis)"""


# InputSpec._center. Round is half to even, as Python's is; in double, because float32 has no halves above 2**23.
_CENTER = f"""
            rgb_sides = Shape <end = 2> (image)
            rgb_shorter = ReduceMin <keepdims = 1> (rgb_sides)
            rgb_proportional = Mul (rgb_sides, rgb_short)
            rgb_whole = Div (rgb_proportional, rgb_shorter)
            rgb_beyond = Sub (rgb_whole, rgb_size)
            rgb_beyond_double = Cast <to = {_DOUBLE}> (rgb_beyond)
            rgb_margins = Div (rgb_beyond_double, rgb_2d)
            rgb_offsets = Round (rgb_margins)
            rgb_corner = Cast <to = {_INT64}> (rgb_offsets)"""


def _pass(name: str, source: str, whole: str, offset: str, result: str) -> str:
    """Nodes that resize the first axis of ``source`` [N, M, 3] to ``whole`` and keep S lines from ``offset`` on.

    This is Pillow's own arithmetic (``precompute_coeffs``, ``normalize_coeffs_8bpc`` and
    ``ImagingResampleVertical_8bpc`` in its ``Resample.c``): weights in double, rounded to 22 bits, sums in int32. One
    turn of the loop adds one tap for all lines at once, so memory stays near that of the result.
    """
    p = f"rgb_{name}"
    return f"""
            {p}_n = Shape <end = 1> ({source})
            {p}_from = Cast <to = {_DOUBLE}> ({p}_n)
            {p}_to = Cast <to = {_DOUBLE}> ({whole})
            {p}_scale = Div ({p}_from, {p}_to)
            {p}_widening = Max ({p}_scale, rgb_1d)
            {p}_narrowing = Div (rgb_1d, {p}_widening)
            {p}_support = Mul ({p}_widening, rgb_2d)
            {p}_reach = Ceil ({p}_support)
            {p}_both_sides = Mul ({p}_reach, rgb_2d)
            {p}_taps_double = Add ({p}_both_sides, rgb_1d)
            {p}_taps_1 = Cast <to = {_INT64}> ({p}_taps_double)
            {p}_taps = Squeeze ({p}_taps_1)

            {p}_numbers = Range (rgb_0, rgb_count, rgb_1)
            {p}_lines = Add ({p}_numbers, {offset})
            {p}_lines_double = Cast <to = {_DOUBLE}> ({p}_lines)
            {p}_middles = Add ({p}_lines_double, rgb_half)
            {p}_flat_centres = Mul ({p}_middles, {p}_scale)
            {p}_centres = Unsqueeze ({p}_flat_centres, rgb_second_axis)
            {p}_left = Sub ({p}_centres, {p}_support)
            {p}_left_rounded = Add ({p}_left, rgb_half)
            {p}_left_whole = Cast <to = {_INT64}> ({p}_left_rounded)
            {p}_first = Max ({p}_left_whole, rgb_0)
            {p}_right = Add ({p}_centres, {p}_support)
            {p}_right_rounded = Add ({p}_right, rgb_half)
            {p}_right_whole = Cast <to = {_INT64}> ({p}_right_rounded)
            {p}_end = Min ({p}_right_whole, {p}_n)
            {p}_steps = Range (rgb_0, {p}_taps, rgb_1)
            {p}_indices = Add ({p}_first, {p}_steps)
            {p}_is_inside = Less ({p}_indices, {p}_end)

            {p}_indices_double = Cast <to = {_DOUBLE}> ({p}_indices)
            {p}_distances = Sub ({p}_indices_double, {p}_centres)
            {p}_from_middles = Add ({p}_distances, rgb_half)
            {p}_signed = Mul ({p}_from_middles, {p}_narrowing)
            {p}_x = Abs ({p}_signed)
            {p}_near_a = Mul ({p}_x, rgb_near_3)
            {p}_near_b = Sub ({p}_near_a, rgb_near_2)
            {p}_near_c = Mul ({p}_near_b, {p}_x)
            {p}_near_d = Mul ({p}_near_c, {p}_x)
            {p}_near = Add ({p}_near_d, rgb_1d)
            {p}_far_a = Sub ({p}_x, rgb_5d)
            {p}_far_b = Mul ({p}_far_a, {p}_x)
            {p}_far_c = Add ({p}_far_b, rgb_8d)
            {p}_far_d = Mul ({p}_far_c, {p}_x)
            {p}_far_e = Sub ({p}_far_d, rgb_4d)
            {p}_far = Mul ({p}_far_e, rgb_far_3)
            {p}_is_near = Less ({p}_x, rgb_1d)
            {p}_is_far = Less ({p}_x, rgb_2d)
            {p}_beyond_1 = Where ({p}_is_far, {p}_far, rgb_0d)
            {p}_cubic = Where ({p}_is_near, {p}_near, {p}_beyond_1)
            {p}_inside = Where ({p}_is_inside, {p}_cubic, rgb_0d)
            {p}_total = ReduceSum ({p}_inside, rgb_second_axis)
            {p}_normalised = Div ({p}_inside, {p}_total)

            {p}_in_units = Mul ({p}_normalised, rgb_unit_double)
            {p}_magnitudes = Abs ({p}_in_units)
            {p}_raised = Add ({p}_magnitudes, rgb_half)
            {p}_rounded = Floor ({p}_raised)
            {p}_signs = Sign ({p}_in_units)
            {p}_fixed_double = Mul ({p}_rounded, {p}_signs)
            {p}_fixed = Cast <to = {_INT32}> ({p}_fixed_double)
            {p}_fixed_by_tap = Transpose <perm = [1, 0]> ({p}_fixed)
            {p}_weights = Unsqueeze ({p}_fixed_by_tap, rgb_pixel_axes)
            {p}_last = Sub ({p}_n, rgb_1)
            {p}_existing = Min ({p}_indices, {p}_last)
            {p}_sources = Transpose <perm = [1, 0]> ({p}_existing)

            {p}_rest = Shape <start = 1> ({source})
            {p}_shape = Concat <axis = 0> (rgb_size, {p}_rest)
            {p}_start = ConstantOfShape <value = int32[1] {{{_UNIT // 2}}}> ({p}_shape)
            {p}_sums = Loop ({p}_taps, , {p}_start) <
                body = {p}_tap (int64 {p}_tap, bool {p}_go, int32[a, b, c] {p}_sum)
                    => (bool {p}_on, int32[a, b, c] {p}_next) {{
                    {p}_on = Identity ({p}_go)
                    {p}_source = Gather ({p}_sources, {p}_tap)
                    {p}_weight = Gather ({p}_weights, {p}_tap)
                    {p}_values = Gather ({source}, {p}_source)
                    {p}_values_int32 = Cast <to = {_INT32}> ({p}_values)
                    {p}_weighted = Mul ({p}_values_int32, {p}_weight)
                    {p}_next = Add ({p}_sum, {p}_weighted)
                }}
            >
            {p}_levels = Div ({p}_sums, rgb_unit)
            {p}_clipped = Clip ({p}_levels, rgb_black, rgb_full)
            {result} = Cast <to = {_UINT8}> ({p}_clipped)"""


def _postprocessing(labels: LabelSet, like: ModelProto) -> ModelProto:
    """``logits`` [batch, C] → ``probabilities`` [C], and ``scores`` [C] for ordinal labels."""
    count = len(labels)
    ordinal = labels.kind == "ordinal"
    outputs = f"float[{count}] probabilities" + (f", float[{count}] scores" if ordinal else "")
    activated = "Softmax <axis = -1> (logits)" if exclusive(labels.kind) else "Sigmoid (logits)"
    scores = "scores = CumSum <reverse = 1> (probabilities, rgb_labels_axis)" if ordinal else ""
    return _parse(
        like,
        f"""rgb_after (float[batch, {count}] logits) => ({outputs}) <
            int64[1] rgb_only = {{{count}}}, int64 rgb_labels_axis = {{0}}
        > {{
            rgb_activated = {activated}
            probabilities = Reshape (rgb_activated, rgb_only)
            {scores}
        }}""",
    )


def _parse(like: ModelProto, graph: str) -> ModelProto:
    opset = next(entry.version for entry in like.opset_import if entry.domain in ("", "ai.onnx"))
    return onnx.parser.parse_model(f'<ir_version: {like.ir_version}, opset_import: ["" : {opset}]> {graph}')


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(repr(float(value)) for value in values)
