"""An ONNX file inspected, without torch; the package onnx counts weights and multiplications where it is installed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.limits import bounded_memory
from export.metadata import Contract, read_contract
from export.release import KINDS
from export.runtime import open_file
from hub.front_matter import CARD, license_of
from hub.inspection.record import Inspection, Limits, ModelFile, OnnxReadiness, Preprocessing, Teaching, Tensor
from hub.inspection.timing import MOST_SECONDS, shapes_of_one, try_session
from models.spec import InputSpec
from run.errors import UserError, quoted

NO_ONNX = "the package onnx counts them: pip install '.[train]'"


def inspect_folder(folder: Path, name: str, limits: Limits, checkpoint: Path | None = None) -> Inspection:
    """A folder with the ONNX files of one model of ours: in detail the first, which stands for it; of all, the speed.

    Args:
        folder: the folder ``NAME-onnx``, under any name.
        checkpoint: the folder with its weights, if it is at hand.
    """
    paths = [kind.path for kind in KINDS.values() if (folder / kind.path).is_file()]
    found = inspect_file(folder / paths[0], name, limits)
    others = [_timed(folder / path, path.as_posix(), limits) for path in paths[1:]]
    own = replace(found.files[0], name=paths[0].as_posix())
    license_name = license_of(folder / CARD) or (license_of(checkpoint / CARD) if checkpoint else None)
    why = f"that takes the checkpoint, {checkpoint}" if checkpoint else found.teaching.reason
    return replace(
        found,
        kind="release",
        files=(own, *others),
        license=license_name,
        teaching=Teaching(students=(), reason=why),
    )


def inspect_file(path: Path, name: str, limits: Limits) -> Inspection:
    """One ONNX file.

    Raises:
        UserError: ONNX Runtime refuses it.
    """
    size = path.stat().st_size if path.is_file() else 0
    if refusal := limits.refusal(size / 4, None):
        raise UserError(f"{quoted(path)} is {refusal}")
    with bounded_memory(path):
        session = open_file(path, threads=1, seconds=MOST_SECONDS)
        inputs = tuple(_tensor(value) for value in session.get_inputs())
        outputs = tuple(_tensor(value) for value in session.get_outputs())
        metadata = session.get_modelmeta().custom_metadata_map
        # One of ours that makes no sense is an error, none is none.
        contract = read_contract(metadata, path) if {"labels", "input"} & metadata.keys() else None
        weights, macs, counted = _counted(path, inputs)
        refusal = limits.refusal(weights or size / 4, macs)
        timing, why = (None, refusal) if refusal else try_session(session, shapes_of_one(inputs))
    batched = [given for given in inputs if len(given.shape) == 4]
    sides = [side for given in inputs for side in _sides(given)]
    return Inspection(
        name=name,
        kind="ONNX file",
        architecture=_text(metadata.get("architecture")),
        inputs=inputs,
        outputs=outputs,
        **_of_contract(contract, outputs),
        parameters=weights,
        macs=macs,
        macs_counted=counted,
        files=(ModelFile(name=path.name, bytes=size, latency=timing, not_timed=why),),
        batch=_batch(batched),
        any_size=bool(sides) and all(isinstance(side, str) for side in sides),
        sizes=tuple(sorted({side for side in sides if isinstance(side, int)})),
        license=license_of(path.parent / CARD),
        onnx=OnnxReadiness(state="is ONNX"),
        latency=timing,
        not_timed=why,
        teaching=Teaching(students=(), reason="that takes the checkpoint, and this is ONNX"),
    )


def _timed(path: Path, name: str, limits: Limits) -> ModelFile:
    """A further file of a release: its size and speed."""
    size = path.stat().st_size
    try:
        with bounded_memory(path):
            session = open_file(path, threads=1, seconds=MOST_SECONDS)
            inputs = tuple(_tensor(value) for value in session.get_inputs())
            refusal = limits.refusal(size / 4, None)
            timing, why = (None, refusal) if refusal else try_session(session, shapes_of_one(inputs))
    except UserError as error:
        timing, why = None, str(error)
    return ModelFile(name=name, bytes=size, latency=timing, not_timed=why)


def _counted(path: Path, inputs: tuple[Tensor, ...]) -> tuple[int | None, int | None, str]:
    try:
        from hub.inspection.macs import count
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        return None, None, NO_ONNX
    return count(path, shapes_of_one(inputs))


def _of_contract(contract: Contract | None, outputs: Sequence[Tensor]) -> dict[str, Any]:
    if contract is None:
        last = outputs[0].shape[-1] if outputs and outputs[0].shape else None
        return {"num_labels": last if isinstance(last, int) else None}
    labels = contract.rule.labels
    return {
        "preprocessing": preprocessing(contract.spec, "bicubic"),
        "labels": labels.names,
        "label_kind": labels.kind,
        "num_labels": len(labels),
        "decision": contract.rule.method,
    }


def preprocessing(spec: InputSpec, interpolation: str) -> Preprocessing:
    """An input contract, for the record."""
    return Preprocessing(
        size=spec.size,
        resize=spec.mode,
        crop_pct=spec.crop_pct,
        interpolation=interpolation,
        mean=spec.mean,
        std=spec.std,
    )


def _tensor(value: Any) -> Tensor:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    sides = (side if isinstance(side, int) else str(side or "any")[:40] for side in value.shape)
    return Tensor(name=value.name[:100], type=kind, shape=tuple(sides))


def _sides(given: Tensor) -> tuple[int | str, ...]:
    """Height and width of an input of images."""
    if len(given.shape) == 3:
        return given.shape[:2]
    channels_last = len(given.shape) == 4 and given.shape[3] in (1, 3)
    return given.shape[1:3] if channels_last else given.shape[2:4]


def _batch(batched: Sequence[Tensor]) -> int | None:
    """Images at a time; null takes any number, and one without a batch takes one image."""
    if not batched:
        return 1
    first = batched[0].shape[0]
    return first if isinstance(first, int) else None


def _text(stored: str | None) -> str | None:
    return stored.strip('"')[:100] if stored else None
