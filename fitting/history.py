"""Curves of a fit: losses and shares of every epoch, in ``history.json`` beside its checkpoints. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from run.files import write_json

HISTORY = "history.json"

FITS = ("", "head", "full")
"""Folders below a model's ``fit``, in the order of training: a student has one fit, a teacher one or two."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Means over one epoch."""

    train_loss: float | None
    """Null where the fit went on within this epoch: the batches before are not in it."""
    val_loss: float | None
    """Null where it was no number."""
    shares: Mapping[str, float]
    """Shares of the validation images by name, such as ``accuracy``."""


_ADAPTER = TypeAdapter(list[Epoch])


def write_history(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write a fit's curves, atomically."""
    write_json(folder / HISTORY, [asdict(epoch) for epoch in epochs])


def read_histories(model: Path) -> dict[str, list[Epoch]]:
    """Curves of a model's fits in the order of training, by their folder; none where the fits were removed."""
    paths = {name: model / "fit" / name / HISTORY for name in FITS}
    return {name: _ADAPTER.validate_json(path.read_bytes()) for name, path in paths.items() if path.is_file()}
