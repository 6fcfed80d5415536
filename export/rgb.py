"""``rgb.onnx``: decoded pixels straight in, probabilities out; all that lies between is in the graph.

The resize contract is ``data.resize.resize``: two bicubic passes, width first, each rounded to 8 bits. The graph does
Pillow's own integer arithmetic (``export.resize_graph``), so that every pixel is equal. ONNX Runtime's Resize on uint8
comes close, but its coordinates are in float32: one pixel in a few thousand is a level or two off, and that alone moved
a score of a small trained model by 9e-4.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx.compose
import onnx.parser
from onnx import ModelProto

from export.metadata import read_contract
from export.onnx_graph import drop_unused_weights, finished, metadata_of
from export.resize_graph import constants, nodes
from models.decision import DecisionRule
from models.spec import InputSpec
from run.files import Json, atomic_path, file_digest

DECODE = (
    "8-bit RGB, first frame, EXIF orientation applied, transparency over white, palette, gray, 16-bit gray and CMYK "
    "converted to RGB, ICC profiles not applied"
)
"""The decode contract of ``data.decode`` in one line: ``image`` has to be this."""

_FLOAT = int(onnx.TensorProto.FLOAT)
_INT64 = int(onnx.TensorProto.INT64)
_BOOL = int(onnx.TensorProto.BOOL)


def write_rgb(body: Path, path: Path, rule: DecisionRule | None = None) -> None:
    """Put preprocessing before, and softmax or sigmoid after, a model that this project exported.

    The file takes ``image`` uint8 [height, width, 3] and gives ``probabilities`` float32 [C], for ordinal labels
    ``scores`` [C], the probability of each label or a more severe one, and ``decision``: the label's index int64 [1],
    or for a multilabel set which labels apply bool [C], by the decision rule in the metadata. The temperature is
    in the body's weights. The body's metadata is carried over; ``decode``, ``body`` (its SHA-256) and ``outputs`` are
    added.

    Args:
        body: ``pixel_values`` float32 [batch, 3, S, S] → ``logits`` [batch, C], in float32, float16 or INT8.
        path: replaced if it is there.
        rule: its own; null takes the body's.

    Raises:
        UserError: the body does not carry labels and input contract.
    """
    model = onnx.load(body)
    metadata = metadata_of(model)
    contract = read_contract(metadata, body)
    rule = rule or contract.rule
    before = preprocessing(contract.spec, like=model)
    after = postprocessing(rule, like=model)
    whole = onnx.compose.merge_models(before, model, io_map=[("pixel_values", "pixel_values")])
    whole = onnx.compose.merge_models(whole, after, io_map=[("logits", "logits")])
    # Merging lists the operator sets once for each part.
    whole.ClearField("opset_import")
    whole.opset_import.extend(model.opset_import)
    facts: dict[str, Json] = {
        "decision": rule.to_json(),
        "decode": DECODE,
        "body": file_digest(body),
        "outputs": [output.name for output in whole.graph.output],
    }
    drop_unused_weights(whole)
    whole.graph.name = "rgb"
    whole.producer_name = "pocketeva"
    whole.producer_version = ""
    with atomic_path(path) as partial:
        partial.write_bytes(finished(whole, metadata, facts))


def preprocessing(spec: InputSpec, like: ModelProto) -> ModelProto:
    """``image`` uint8 [height, width, 3] → ``pixel_values`` float32 [1, 3, S, S], as ``InputSpec`` does it.

    Args:
        like: gives operator set and IR version.
    """
    size = spec.size
    return _parse(
        like,
        f"""rgb_before (uint8[height, width, 3] image) => (float[1, 3, {size}, {size}] pixel_values) <
            {constants(spec)},
            float rgb_white = {{255.0}},
            float[1, 3, 1, 1] rgb_mean = {{{_numbers(spec.mean)}}},
            float[1, 3, 1, 1] rgb_std = {{{_numbers(spec.std)}}}
        > {{
            {nodes(spec)}
            rgb_values = Cast <to = {_FLOAT}> (rgb_pixels)
            rgb_scaled = Div (rgb_values, rgb_white)
            rgb_centered = Sub (rgb_scaled, rgb_mean)
            pixel_values = Div (rgb_centered, rgb_std)
        }}""",
    )


def postprocessing(rule: DecisionRule, like: ModelProto) -> ModelProto:
    """``logits`` [batch, C] → ``probabilities`` [C], ``scores`` [C] for ordinal labels, and ``decision``."""
    count = len(rule.labels)
    ordinal = rule.labels.kind == "ordinal"
    outputs = [f"float[{count}] probabilities", f"float[{count}] scores"][: 1 + ordinal]
    activated = "Softmax <axis = -1> (logits)" if rule.exclusive else "Sigmoid (logits)"
    scores = "scores = CumSum <reverse = 1> (probabilities, rgb_labels_axis)" if ordinal else ""
    decided = "int64[1]" if rule.exclusive else f"bool[{count}]"
    constants, nodes = _decision(rule)
    return _parse(
        like,
        f"""rgb_after (float[batch, {count}] logits) => ({", ".join(outputs)}, {decided} decision) <
            int64[1] rgb_only = {{{count}}}, int64 rgb_labels_axis = {{0}}{constants}
        > {{
            rgb_activated = {activated}
            probabilities = Reshape (rgb_activated, rgb_only)
            {scores}
            {nodes}
        }}""",
    )


def _decision(rule: DecisionRule) -> tuple[str, str]:
    """Constants and nodes by which a rule decides, as ``DecisionRule.decide`` does."""
    count = len(rule.labels)
    thresholds = f", float[{len(rule.thresholds)}] rgb_thresholds = {{{_numbers(rule.thresholds)}}}"
    if rule.method == "threshold":
        return thresholds, "decision = GreaterOrEqual (probabilities, rgb_thresholds)"
    if rule.method == "levels":
        levels = ", ".join(map(str, range(1, count)))
        return (
            f"{thresholds}, int64[{count - 1}] rgb_levels = {{{levels}}}, int64[1] rgb_from = {{1}}",
            f"""rgb_level_scores = Slice (scores, rgb_from, rgb_only)
            rgb_reached = GreaterOrEqual (rgb_level_scores, rgb_thresholds)
            rgb_steps = Cast <to = {_INT64}> (rgb_reached)
            rgb_severities = Mul (rgb_steps, rgb_levels)
            decision = ReduceMax <keepdims = 1> (rgb_severities)""",
        )
    if rule.points:
        return _decision_among_flagged(rule)
    # Of equal ones the more severe, or the first where labels have no order.
    last = int(rule.labels.kind == "ordinal")
    return "", f"decision = ArgMax <axis = 0, keepdims = 1, select_last_index = {last}> (probabilities)"


def _decision_among_flagged(rule: DecisionRule) -> tuple[str, str]:
    """Of a nominal set with operating points: the likeliest flagged label, or else of those without a point."""
    count = len(rule.labels)
    by_name = {point.name: point.threshold for point in rule.points}
    # No probability reaches 2: a label without a point is never flagged.
    thresholds = _numbers([by_name.get(name, 2.0) for name in rule.labels.names])
    free = ", ".join(str(int(free)) for free in rule.without_point)
    return (
        f""", float[{count}] rgb_thresholds = {{{thresholds}}}, int64[{count}] rgb_free = {{{free}}},
            float rgb_never = {{-1.0}}""",
        f"""rgb_flagged = GreaterOrEqual (probabilities, rgb_thresholds)
            rgb_flags = Cast <to = {_INT64}> (rgb_flagged)
            rgb_one = ReduceMax <keepdims = 1> (rgb_flags)
            rgb_one_is = Cast <to = {_BOOL}> (rgb_one)
            rgb_allowed = Where (rgb_one_is, rgb_flags, rgb_free)
            rgb_allowed_is = Cast <to = {_BOOL}> (rgb_allowed)
            rgb_among = Where (rgb_allowed_is, probabilities, rgb_never)
            decision = ArgMax <axis = 0, keepdims = 1> (rgb_among)""",
    )


def _parse(like: ModelProto, graph: str) -> ModelProto:
    opset = next(entry.version for entry in like.opset_import if entry.domain in ("", "ai.onnx"))
    return onnx.parser.parse_model(f'<ir_version: {like.ir_version}, opset_import: ["" : {opset}]> {graph}')


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(repr(float(value)) for value in values)
