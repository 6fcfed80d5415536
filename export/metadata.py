"""The metadata of every ONNX file: labels, decision rule, input contract and digests, each value as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.labels import LabelSet
from models.decision import DecisionRule
from models.spec import InputSpec
from run.errors import UserError, quoted
from run.files import Json

if TYPE_CHECKING:  # importing torch takes seconds, and a runtime does without it
    from models.classifier import Classifier


@dataclass(frozen=True)
class Contract:
    """The part of the metadata that running a file takes."""

    rule: DecisionRule
    spec: InputSpec


def read_rule(labels: LabelSet, stored: Mapping[str, Any] | None) -> DecisionRule:
    """The stored rule, or the default of the labels: files of before version 0.2 carry none."""
    return DecisionRule.of(labels) if stored is None else DecisionRule.of_json(labels, stored)


def read_contract(metadata: Mapping[str, str], path: Path) -> Contract:
    """The contract in a file's metadata.

    Raises:
        UserError: there is none, or no model can have it.
    """
    try:
        labels = LabelSet.of_json(json.loads(metadata["labels"]))
        spec = InputSpec.from_pretrained_cfg(json.loads(metadata["input"]))
        rule = read_rule(labels, json.loads(metadata.get("decision", "null")))
    except KeyError as error:
        raise UserError(
            f"{quoted(path)} does not carry labels and input contract: it was not exported by PocketEVA"
        ) from error
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{quoted(path)} does not carry labels and input contract that make sense: {error}") from error
    return Contract(rule, spec)


def describe(classifier: "Classifier") -> dict[str, Json]:
    """The metadata of a model's file, before anything is added."""
    return {
        "labels": classifier.labels.to_json(),
        "labels_digest": classifier.labels.digest,
        "decision": DecisionRule.of(classifier.labels).to_json(),
        "input": input_json(classifier.spec),
        "architecture": classifier.architecture,
        "weights_digest": classifier.weights_digest(),
    }


def input_json(spec: InputSpec) -> dict[str, Json]:
    """The input contract, from decoded pixels on."""
    return {
        **spec.to_pretrained_cfg(),
        "color": "RGB",
        "resize": "bicubic, antialiased, in two passes, width first, each rounded to 8 bits",
        "scale": 1 / 255,
    }
