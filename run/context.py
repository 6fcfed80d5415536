"""The run as every stage gets it, beside the stage's own config section."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from run.config import TrackingConfig, TrainerConfig
from run.files import Json
from run.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """One run: where it lies, where its models run, what is tracked."""

    folder: RunFolder
    trainer: TrainerConfig
    tracking: TrackingConfig
    seed: int
    config: Json
    """The whole resolved config, for the tracker."""
    working_size: int | None = None
    """``data.working_size``: shorter side in pixels of the copies that training reads; null reads the originals."""
    publish: Callable[[str, Path, str], None] | None = None
    """Called while training with the model's name, the folder of its best checkpoint so far, and what to say of it."""
