"""Export's own records of a released model, gathered for judging."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from export.formats.record import FormatsRecord, Ran
from export.parity_record import LOGITS, ParityRecord
from export.release import ReleasedFile, ReleasedModel
from fitting.diagnosis import Note
from models.facts import CheckpointFacts
from run.errors import UserError


@dataclass(frozen=True)
class MeasuredParity:
    """Difference of a file from its reference in another runtime."""

    file: str
    statement: str
    n: int
    largest: float
    """Difference of a logit."""
    spread: float
    """Standard deviation of the logits that are compared with."""
    target: float
    """Largest difference allowed, in spreads."""
    sha256: Mapping[str, str]
    """Digests of the files that were run, by path below the release."""


@dataclass(frozen=True)
class ExportedModel:
    """A released model without its predictions. Files are named by their path below the release."""

    name: str
    role: Literal["teacher", "student"]
    reference: str
    """The float32 file, which stands for the model."""
    files: Sequence[str]
    """The files that are judged, the reference first."""
    parity: Sequence[MeasuredParity]
    temperature: float
    baseline: str | None
    """The file of the same student trained on labels alone, where there is one."""
    notes: Sequence[Note] = ()
    """Diagnoses of its training."""


def read_exported(
    models: Sequence[ReleasedModel],
    baselines: Mapping[str, ReleasedFile],
    notes: Mapping[str, Sequence[Note]] = MappingProxyType({}),
) -> list[ExportedModel]:
    """Read what export left of these models.

    Args:
        models: the teacher first.

    Raises:
        UserError: a model is not there.
    """
    needed = [path for model in models for path in (model.weights, model.reference.path)]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise UserError(f"{', '.join(missing)} not found: run `pocketeva export` first")
    return [
        ExportedModel(
            name=model.name,
            role=model.role,
            reference=model.reference.name,
            files=[file.name for file in model.files()],
            parity=list(_parity(model)),
            temperature=CheckpointFacts.read(model.checkpoint).temperature,
            baseline=baselines[model.name].name if model.name in baselines else None,
            notes=notes.get(model.name, ()),
        )
        for model in models
    ]


def records(model: ReleasedModel) -> list[Path]:
    """Files in which export wrote down its own checks."""
    return [path for path in (model.onnx / record.FILE for record in (ParityRecord, FormatsRecord)) if path.is_file()]


def _parity(model: ReleasedModel) -> Iterator[MeasuredParity]:
    """Parity of the float32 file, and of each file for another runtime that export ran."""
    reference = model.reference.name
    found = ParityRecord.read(model.onnx).reference
    yield MeasuredParity(
        file=reference,
        statement="logits are those of PyTorch with the released weights, on calibration images",
        n=found.n,
        largest=found.largest_logit,
        spread=found.spread,
        target=LOGITS * found.target,
        sha256={reference: found.sha256, model.weights.relative_to(model.release).as_posix(): found.weights},
    )
    formats = FormatsRecord.read_if_there(model.onnx)
    if formats is None:
        return
    compared_with = f"{formats.compared_with} in ONNX Runtime, on the golden images"
    for ran in formats.formats.values():
        if isinstance(ran, Ran):
            yield MeasuredParity(
                file=f"{model.onnx.name}/{ran.file}",
                statement=f"logits in {ran.title} are those of {compared_with}",
                n=formats.images,
                largest=ran.largest_logit,
                spread=ran.spread,
                target=LOGITS * ran.target,
                sha256={f"{model.onnx.name}/{name}": digest for name, digest in ran.sha256.items()},
            )
