"""The record of the files for other runtimes, ``formats.json``: their input and output, and measurements of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

from data.labels import LabelSet
from export.metadata import input_json, read_rule
from export.records import Record, record_of
from models.decision import DecisionRule
from models.spec import InputSpec
from run.files import Json


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One format that was asked for."""

    title: str
    file: str
    """The file or folder that an app loads, inside the ONNX folder."""
    made_with: str
    status: str
    """For texts."""


@dataclass(frozen=True, kw_only=True)
class NotWritten(Attempt):
    """A format without a file, and the reason."""

    status: Literal["not written"] = "not written"
    why_not: str


@dataclass(frozen=True, kw_only=True)
class Converted(Attempt):
    """A file for which no runtime is to be had here."""

    status: Literal["converted, not run"] = "converted, not run"
    bytes: int
    sha256: Mapping[str, str]
    """Digest of every file, by path inside the ONNX folder."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Distance from ``model.onnx`` in ONNX Runtime on the golden images, and milliseconds for one of them."""

    largest_logit: float
    spread: float
    """Standard deviation of the logits of ``model.onnx``."""
    largest: float
    """Difference of a probability."""
    target: float
    ms: float
    onnx_ms: float
    """Those of ``model.onnx`` beside it."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class Ran(Distance, Attempt):
    """A file that was run, and is close enough."""

    status: Literal["ran"] = "ran"
    bytes: int
    sha256: Mapping[str, str]
    """As of ``Converted``."""


@dataclass(frozen=True, kw_only=True)
class FormatsRecord(Record):
    """Every format that was asked for, and what all of them have in common."""

    FILE: ClassVar[str] = "formats.json"

    rule: DecisionRule
    spec: InputSpec
    temperature: float
    """It is in the weights already."""
    compared_with: str
    """The ONNX file."""
    images: int
    """Golden images that were compared."""
    processor: str
    formats: Mapping[str, Ran | Converted | NotWritten]

    def to_json(self) -> dict[str, Json]:
        return {
            "input": {"name": "pixel_values", "dtype": "float32", "layout": "NCHW", **input_json(self.spec)},
            "output": {"name": "logits", "dtype": "float32", "activation": self.rule.activation},
            "labels": self.rule.labels.to_json(),
            "decision": self.rule.to_json(),
            "temperature": self.temperature,
            "temperature_is_in_the_weights": True,
            "compared_with": self.compared_with,
            "images": self.images,
            "processor": self.processor,
            "formats": {name: asdict(attempt) for name, attempt in self.formats.items()},
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Self:
        rule = read_rule(LabelSet.of_json(stored["labels"]), stored.get("decision"))
        return record_of(cls, {**stored, "rule": rule, "spec": InputSpec.from_pretrained_cfg(stored["input"])})
