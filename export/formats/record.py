"""The record of the files for other runtimes, ``formats.json``: their input and output, and measurements of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from data.labels import LabelSet
from export.metadata import input_json, read_rule
from export.records import read_record, record_of
from models.decision import DecisionRule
from models.spec import InputSpec
from run.files import Json, write_json

FORMATS_RECORD = "formats.json"

Status = Literal["ran", "converted, not run", "not written"]

RAN: Status = "ran"
CONVERTED: Status = "converted, not run"
NOT_WRITTEN: Status = "not written"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Measurements of a file that was run on the golden images."""

    largest_logit: float
    largest: float
    """Difference of a probability from ``model.onnx`` in ONNX Runtime."""
    target: float
    ms: float
    """Median for one image."""
    onnx_ms: float
    """That of ``model.onnx`` beside it."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class ConvertedFile:
    """One format: its file, or the reason why there is none."""

    title: str
    file: str
    """The file or folder that an app loads, inside the ONNX folder."""
    made_with: str
    ran: Ran | None = None
    """Null where no runtime for it is to be had here, or no file was written."""
    why_not: str | None = None
    """Null where a file was written."""
    bytes: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digest of every file, by path inside the ONNX folder."""

    @property
    def status(self) -> Status:
        """One of three, for texts."""
        if self.why_not is not None:
            return NOT_WRITTEN
        return CONVERTED if self.ran is None else RAN

    def to_json(self) -> dict[str, Json]:
        """All of it on one level."""
        facts: dict[str, Json] = {
            "title": self.title,
            "file": self.file,
            "made_with": self.made_with,
            "status": self.status,
        }
        if self.why_not is not None:
            return {**facts, "why_not": self.why_not}
        ran = {} if self.ran is None else asdict(self.ran)
        return {**facts, **ran, "bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "ConvertedFile":
        """The file that ``to_json`` described."""
        ran = record_of(Ran, stored) if stored["status"] == RAN else None
        return replace(record_of(cls, stored), ran=ran)


@dataclass(frozen=True, kw_only=True)
class FormatsRecord:
    """Every format that was asked for, and what all of them have in common."""

    rule: DecisionRule
    spec: InputSpec
    temperature: float
    """It is in the weights already."""
    compared_with: str
    """The ONNX file."""
    images: int
    """Golden images that were compared."""
    processor: str
    formats: Mapping[str, ConvertedFile]

    def write(self, folder: Path) -> None:
        """Write ``formats.json`` into an ONNX folder."""
        content: dict[str, Json] = {
            "input": {"name": "pixel_values", "dtype": "float32", "layout": "NCHW", **input_json(self.spec)},
            "output": {"name": "logits", "dtype": "float32", "activation": self.rule.activation},
            "labels": self.rule.labels.to_json(),
            "decision": self.rule.to_json(),
            "temperature": self.temperature,
            "temperature_is_in_the_weights": True,
            "compared_with": self.compared_with,
            "images": self.images,
            "processor": self.processor,
            "formats": {name: converted.to_json() for name, converted in self.formats.items()},
        }
        write_json(folder / FORMATS_RECORD, content)

    @classmethod
    def read(cls, folder: Path) -> "FormatsRecord | None":
        """The record in an ONNX folder; null where no format was asked for.

        Raises:
            UserError: it is damaged.
        """
        path = folder / FORMATS_RECORD
        return read_record(path, cls._of_json) if path.is_file() else None

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "FormatsRecord":
        labels = LabelSet.of_json(stored["labels"])
        return cls(
            rule=read_rule(labels, stored.get("decision")),
            spec=InputSpec.from_pretrained_cfg(stored["input"]),
            temperature=stored["temperature"],
            compared_with=stored["compared_with"],
            images=stored["images"],
            processor=stored["processor"],
            formats={name: ConvertedFile.of_json(found) for name, found in stored["formats"].items()},
        )
