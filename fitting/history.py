"""Curves of a fit, by epoch, or of a head, by weight decay: ``history.json`` in the fit's folder. No torch here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from run.files import write_json

HISTORY = "history.json"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Means over one epoch, or of a head at one weight decay."""

    train_loss: float | None
    """Null where the fit went on within this epoch: the batches before are not in it."""
    val_loss: float | None
    """Null where it was no number."""
    shares: Mapping[str, float]
    """Shares of the validation images by name, such as ``accuracy``."""
    weight_decay: float | None = None
    """Of a head alone."""
    steps: int | None = None
    """Of L-BFGS, likewise."""


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """The one with the lowest validation loss."""
    return min(epochs, key=lambda one: math.inf if one.val_loss is None else one.val_loss)


def write_history(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write a fit's curves, atomically."""
    write_json(folder / HISTORY, [asdict(epoch) for epoch in epochs])


def read_histories(model: Path) -> dict[str, list[Epoch]]:
    """Curves of a model's fits by their folder, that of a head first; none where the fits were removed."""
    fits = model / "fit"
    paths = [fits / HISTORY, fits / "head" / HISTORY, *sorted(fits.glob(f"*/{HISTORY}"))]
    adapter = TypeAdapter(list[Epoch])
    return {
        path.parent.name if path.parent != fits else "": adapter.validate_json(path.read_bytes())
        for path in paths
        if path.is_file()
    }
