"""Finishing an ONNX file: metadata, one opset and its IR version, no trace of the machine, stable bytes."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.onnx_model import OnnxModel

from run.console import log
from run.files import Json

MEANINGFUL = 5
"""Length of a folder's name from which on it means something where it turns up among bytes."""

STANDARD = ("", "ai.onnx")
"""Names of the operator set that every runtime has."""


def seal(model: onnx.ModelProto, source: onnx.ModelProto, facts: Mapping[str, Json]) -> bytes:
    """The bytes to ship of a model that was made from another: checked, and the same each time.

    Args:
        model: changed in place. Shapes of inner tensors are left out: the checker infers them, and so do runtimes.
        source: what it was made from; metadata, opset and producer are carried over.
        facts: added to the metadata.
    """
    used = {node.domain for node in _messages(model, onnx.NodeProto)}
    opsets = [entry for entry in source.opset_import if entry.domain in STANDARD]
    opsets += [entry for entry in model.opset_import if entry.domain in used - set(STANDARD)]
    # Before the metadata is set, because it clears that too.
    forget_origin(model)
    # Converters leave nodes and weights in any order; sorted, the bytes are the same each time.
    OnnxModel.graph_topological_sort(model.graph, is_deterministic=True)
    model.producer_name = source.producer_name
    model.producer_version = source.producer_version
    model.ir_version = source.ir_version
    replace(model.opset_import, sorted(opsets, key=lambda entry: entry.domain))
    replace(model.graph.initializer, sorted(model.graph.initializer, key=lambda tensor: tensor.name))
    model.graph.ClearField("value_info")
    return finished(model, metadata_of(source), facts)


def finished(model: onnx.ModelProto, metadata: Mapping[str, str], facts: Mapping[str, Json]) -> bytes:
    """The bytes to ship of a model with this metadata, and these facts as JSON: checked, and the same each time."""
    every = {**metadata, **{key: json.dumps(value) for key, value in facts.items()}}
    onnx.helper.set_model_props(model, dict(sorted(every.items())))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """A model's metadata, each value as JSON."""
    return {entry.key: entry.value for entry in model.metadata_props}


def graph_digest(path: Path) -> str:
    """SHA-256 of a file without its metadata: what it computes."""
    model = onnx.load(path)
    model.ClearField("metadata_props")
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def replace(field: Any, items: Iterable[Any]) -> None:
    """Put other messages into a repeated field."""
    kept = list(items)
    del field[:]
    field.extend(kept)


def forget_origin(model: onnx.ModelProto) -> None:
    """Remove stack traces and source paths, which exporters keep on every element."""
    for element in _messages(model):
        for field in ("metadata_props", "doc_string"):
            if field in element.DESCRIPTOR.fields_by_name:
                element.ClearField(field)


def drop_unused_weights(model: onnx.ModelProto) -> None:
    """Remove what no node reads: ONNX Runtime would warn of each at every start."""
    used = {name for node in _messages(model, onnx.NodeProto) for name in node.input}
    used |= {value.name for value in model.graph.output}
    replace(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in used])


def least_ir_version(opset: int) -> int:
    """The oldest IR version that may hold this version of the standard operator set.

    Exporters write their newest, and a runtime refuses a file of a newer one than its own, whatever is in it.
    """
    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))


def places_in(data: bytes) -> list[str]:
    """Folders of this machine that a file names: the home, the working folder, those of the interpreter.

    A short one is not looked for: ``//``, where the home is ``/``, and ``/w/`` are in any weights by chance.
    """
    places = sorted({str(Path.cwd()), str(Path.home()), sys.prefix, sys.base_prefix})
    return [place for place in places if len(place) >= MEANINGFUL and f"{place}/".encode() in data]


def warn_of_places(path: Path, data: bytes) -> None:
    """Say that a file names folders of this machine, if it does; the run goes on, and the user decides."""
    for place in places_in(data):
        text = f"  Warning: {path.name} mentions {place}, a folder of this machine: look at it before publishing"
        log.print(text, soft_wrap=True)


def _messages(message: Any, kind: type | None = None) -> Iterable[Any]:
    """A protobuf message and all messages inside it, or those of one kind."""
    if kind is None or isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if isinstance(value, Iterable) else [value]:
                yield from _messages(child, kind)
