"""The resize contract as ONNX nodes: Pillow's own integer arithmetic, so that every pixel is equal.

A pass resizes the last axis of [3, M, N] and swaps it with the one before, so that two passes do the whole image. Its
weights are Pillow's (``precompute_coeffs`` and ``normalize_coeffs_8bpc`` in its ``Resample.c``): in double, rounded to
22 bits. Its sums are matrix products of uint8 pixels and int8 weights, which add up in int32, as Pillow's do
(``ImagingResampleHorizontal_8bpc``): runtimes have fast code for these, and none of it rounds.

* Weights are split into ``DIGITS`` digits of 7 bits from -64 to 64, so that a product of two pairs of pixel and digit
  stays below 2**15: processors without VNNI add pairs in 16 bits and saturate (ONNX Runtime's quantizer has
  ``reduce_range`` for that).
* Lines of the result are made a block at a time, from the span of pixels that they need: a product with all weights,
  nearly all of which are zero, would be a hundred times the work.
"""

import onnx

from data.resize import UNIT_BITS
from models.spec import InputSpec

DIGITS = 4
"""Digits of a weight: 28 bits, where Pillow's have 22 and a sign, and seldom a bit more than 1."""

_RADIX = 2**7

_LINES = 16
"""Most lines of the result that are made at a time: more need a longer span, which most lines use little of."""

_UINT8 = int(onnx.TensorProto.UINT8)
_INT8 = int(onnx.TensorProto.INT8)
_UINT32 = int(onnx.TensorProto.UINT32)
_INT64 = int(onnx.TensorProto.INT64)
_DOUBLE = int(onnx.TensorProto.DOUBLE)


def lines_at_a_time(size: int) -> int:
    """Lines in a block: as many as divide the size in pixels, but not too many."""
    return max(count for count in range(1, _LINES + 1) if size % count == 0)


def constants(spec: InputSpec) -> str:
    """Constants of ``nodes``."""
    size = spec.size
    short = int(size / spec.crop_pct)
    lines = lines_at_a_time(size)
    squash = f"int64[2] rgb_whole = {{{size}, {size}}}, int64[2] rgb_corner = {{0, 0}}"
    center = f"int64[1] rgb_short = {{{short}}}, int64[1] rgb_size = {{{size}}}"
    return f"""
            {center if spec.mode == "center" else squash},
            int64 rgb_count = {{{size}}}, int64 rgb_0 = {{0}}, int64 rgb_1 = {{1}},
            bool rgb_always = {{1}}, int64 rgb_blocks = {{{size // lines}}},
            int64[3] rgb_by_block = {{{size // lines}, {lines}, 1}},
            int64[4] rgb_digits_by_block = {{{DIGITS}, {size // lines}, {lines}, -1}},
            int64[3] rgb_matrices = {{{size // lines}, -1, {DIGITS * lines}}}, int64[1] rgb_flat = {{-1}},
            int64[1] rgb_first_axis = {{0}}, int64[1] rgb_last_axis = {{-1}}, int64[1] rgb_line_axis = {{1}},
            int64[3] rgb_planes = {{3, {size}, -1}},
            double rgb_0d = {{0.0}}, double rgb_half = {{0.5}}, double rgb_1d = {{1.0}}, double rgb_2d = {{2.0}},
            double rgb_near_3 = {{1.5}}, double rgb_near_2 = {{2.5}}, double rgb_far_3 = {{-0.5}},
            double rgb_4d = {{4.0}}, double rgb_5d = {{5.0}}, double rgb_8d = {{8.0}},
            double rgb_unit = {{{float(2**UNIT_BITS)}}}, double rgb_radix_double = {{{float(_RADIX)}}},
            int32 rgb_radix = {{{_RADIX}}}, int32 rgb_half_unit = {{{2 ** (UNIT_BITS - 1)}}},
            int32 rgb_black = {{0}}, int32 rgb_full = {{{2 ** (UNIT_BITS + 8) - 1}}},
            uint32 rgb_bits = {{{UNIT_BITS}}}"""


def nodes(spec: InputSpec) -> str:
    """Nodes from ``image`` uint8 [height, width, 3] to ``rgb_pixels`` uint8 [1, 3, S, S]."""
    assert spec.crop_pct <= 1, "a crop larger than the image"
    return f"""
            {_CENTER if spec.mode == "center" else ""}
            rgb_whole_height, rgb_whole_width = Split <axis = 0, num_outputs = 2> (rgb_whole)
            rgb_top, rgb_left = Split <axis = 0, num_outputs = 2> (rgb_corner)
            rgb_rows = Transpose <perm = [2, 0, 1]> (image)
            {_pass("width", "rgb_rows", "rgb_whole_width", "rgb_left", "rgb_columns")}
            {_pass("height", "rgb_columns", "rgb_whole_height", "rgb_top", "rgb_small")}
            rgb_pixels = Unsqueeze (rgb_small, rgb_first_axis)"""


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
    """Nodes that resize the last axis of ``source`` [3, M, N] to ``whole``, keep S lines from ``offset``: [3, S, M]."""
    p = f"rgb_{name}"
    return f"""
            {_spans(p, source, whole, offset)}
            {_weights(p)}
            {_digits(p)}
            {_products(p, source, result)}"""


def _spans(p: str, source: str, whole: str, offset: str) -> str:
    """The pixels that each line of the result is made of [S, 1], and those that its block reads [blocks, lines, K]."""
    return f"""
            {p}_n = Shape <start = 2> ({source})
            {p}_from = Cast <to = {_DOUBLE}> ({p}_n)
            {p}_to = Cast <to = {_DOUBLE}> ({whole})
            {p}_scale = Div ({p}_from, {p}_to)
            {p}_widening = Max ({p}_scale, rgb_1d)
            {p}_narrowing = Div (rgb_1d, {p}_widening)
            {p}_support = Mul ({p}_widening, rgb_2d)

            {p}_numbers = Range (rgb_0, rgb_count, rgb_1)
            {p}_lines = Add ({p}_numbers, {offset})
            {p}_lines_double = Cast <to = {_DOUBLE}> ({p}_lines)
            {p}_middles = Add ({p}_lines_double, rgb_half)
            {p}_flat_centers = Mul ({p}_middles, {p}_scale)
            {p}_centers = Reshape ({p}_flat_centers, rgb_by_block)
            {p}_left = Sub ({p}_centers, {p}_support)
            {p}_left_rounded = Add ({p}_left, rgb_half)
            {p}_left_whole = Cast <to = {_INT64}> ({p}_left_rounded)
            {p}_first = Max ({p}_left_whole, rgb_0)
            {p}_right = Add ({p}_centers, {p}_support)
            {p}_right_rounded = Add ({p}_right, rgb_half)
            {p}_right_whole = Cast <to = {_INT64}> ({p}_right_rounded)
            {p}_end = Min ({p}_right_whole, {p}_n)

            {p}_block_first = ReduceMin ({p}_first, rgb_line_axis)
            {p}_block_end = ReduceMax ({p}_end, rgb_line_axis)
            {p}_lengths = Sub ({p}_block_end, {p}_block_first)
            {p}_longest = ReduceMax <keepdims = 0> ({p}_lengths)
            {p}_latest = Sub ({p}_n, {p}_longest)
            {p}_starts = Min ({p}_block_first, {p}_latest)
            {p}_steps = Range (rgb_0, {p}_longest, rgb_1)
            {p}_indices = Add ({p}_starts, {p}_steps)
            {p}_is_after = GreaterOrEqual ({p}_indices, {p}_first)
            {p}_is_before = Less ({p}_indices, {p}_end)
            {p}_is_inside = And ({p}_is_after, {p}_is_before)"""


def _weights(p: str) -> str:
    """Pillow's bicubic of each line and pixel [blocks, lines, K], in units; 0 for pixels that only neighbors need."""
    return f"""
            {p}_indices_double = Cast <to = {_DOUBLE}> ({p}_indices)
            {p}_distances = Sub ({p}_indices_double, {p}_centers)
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
            {p}_total = ReduceSum ({p}_inside, rgb_last_axis)
            {p}_normalized = Div ({p}_inside, {p}_total)
            {p}_in_units = Mul ({p}_normalized, rgb_unit)
            {p}_magnitudes = Abs ({p}_in_units)
            {p}_raised = Add ({p}_magnitudes, rgb_half)
            {p}_rounded = Floor ({p}_raised)
            {p}_signs = Sign ({p}_in_units)
            {p}_rest_0 = Mul ({p}_rounded, {p}_signs)"""


def _digits(p: str) -> str:
    """The weights' digits as one matrix for each block [blocks, K, digits × lines], the least first."""
    split = "".join(
        f"""
            {p}_quotient_{digit} = Div ({p}_rest_{digit}, rgb_radix_double)
            {p}_rest_{digit + 1} = Round ({p}_quotient_{digit})
            {p}_carried_{digit} = Mul ({p}_rest_{digit + 1}, rgb_radix_double)
            {p}_digit_{digit} = Sub ({p}_rest_{digit}, {p}_carried_{digit})"""
        for digit in range(DIGITS)
    )
    every = ", ".join(f"{p}_digit_{digit}" for digit in range(DIGITS))
    return f"""{split}
            {p}_stacked = Concat <axis = 0> ({every})
            {p}_digits_double = Reshape ({p}_stacked, rgb_digits_by_block)
            {p}_digits_int8 = Cast <to = {_INT8}> ({p}_digits_double)
            {p}_digits_last = Transpose <perm = [1, 3, 0, 2]> ({p}_digits_int8)
            {p}_digits = Reshape ({p}_digits_last, rgb_matrices)"""


def _products(p: str, source: str, result: str) -> str:
    """One block a turn: its span of pixels times its digits, put together, rounded and clipped to 8 bits."""
    digits = ", ".join(f"{p}_sum_{digit}" for digit in range(DIGITS))
    upper = "".join(
        f"""
                    {p}_shifted_{digit} = Mul ({p}_joined_{digit + 1}, rgb_radix)
                    {p}_joined_{digit} = Add ({p}_shifted_{digit}, {p}_sum_{digit})"""
        for digit in reversed(range(DIGITS - 1))
    )
    return f"""
            {p}_length = Reshape ({p}_longest, rgb_flat)
            {p}_flat_starts = Reshape ({p}_starts, rgb_flat)
            {p}_blocks = Loop (rgb_blocks, rgb_always) <
                body = {p}_block (int64 {p}_turn, bool {p}_go) => (bool {p}_on, uint8[c, b, m] {p}_lines_made) {{
                    {p}_on = Identity ({p}_go)
                    {p}_matrix = Gather ({p}_digits, {p}_turn)
                    {p}_turn_1 = Reshape ({p}_turn, rgb_flat)
                    {p}_start = Gather ({p}_flat_starts, {p}_turn_1)
                    {p}_stop = Add ({p}_start, {p}_length)
                    {p}_span = Slice ({source}, {p}_start, {p}_stop, rgb_last_axis)
                    {p}_sums = MatMulInteger ({p}_span, {p}_matrix)
                    {digits} = Split <axis = 2, num_outputs = {DIGITS}> ({p}_sums)
                    {p}_joined_{DIGITS - 1} = Identity ({p}_sum_{DIGITS - 1}){upper}
                    {p}_to_round = Add ({p}_joined_0, rgb_half_unit)
                    {p}_clipped = Clip ({p}_to_round, rgb_black, rgb_full)
                    {p}_unsigned = Cast <to = {_UINT32}> ({p}_clipped)
                    {p}_shifted = BitShift <direction = "RIGHT"> ({p}_unsigned, rgb_bits)
                    {p}_levels = Cast <to = {_UINT8}> ({p}_shifted)
                    {p}_lines_made = Transpose <perm = [0, 2, 1]> ({p}_levels)
                }}
            >
            {p}_by_plane = Transpose <perm = [1, 0, 2, 3]> ({p}_blocks)
            {result} = Reshape ({p}_by_plane, rgb_planes)"""
