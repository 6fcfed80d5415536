"""Trackers: the loggers that a fit's metrics go to."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from models.names import architecture_of
from run.config import TrackingConfig
from run.console import log
from run.context import RunContext
from run.errors import UserError, quoted
from run.files import Json

PRIVATE = "a private place"
"""Stands for a path, a URI or a model's folder or repository."""


def loggers(name: str, folder: Path, context: RunContext) -> list[Logger]:
    """A CSV file in ``folder/log``, and TensorBoard and Weights & Biases if the config asks for them."""
    tracking = context.tracking
    found: list[Logger] = [CSVLogger(folder, name="log")]
    if tracking.tensorboard:
        found.append(TensorBoardLogger(folder, name="tensorboard"))
    if tracking.wandb != "disabled":
        import wandb

        # Nothing of this machine or of the repository leaves it: only metrics and the config do.
        quiet = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            silent=True,
            host="",
        )
        tracker = WandbLogger(
            name=name,
            project=tracking.project,
            save_dir=folder,
            mode=tracking.wandb,
            log_model=False,
            settings=quiet,
            config=_without_places(context.config),
        )
        tracker._wandb_init.pop("anonymous", None)  # Lightning hands it on, and wandb warns of it in every run
        found.append(tracker)
    return found


@contextmanager
def finishing(tracking: TrackingConfig) -> Iterator[None]:
    """End the tracker's run with the block, and say where it is: Lightning would log the next fit into the same one."""
    if tracking.wandb == "disabled":
        yield
        return
    import wandb

    try:
        yield
    except wandb.Error as error:
        raise UserError(f"tracking.wandb is {tracking.wandb}: {error} Or set it to offline or disabled.") from error
    finally:
        place = _place_of(wandb.run)
        wandb.finish()
        if place:
            log.print(place, soft_wrap=True)


def _place_of(run: Any) -> str:
    """The address of a Weights & Biases run, or the command that sends it there; empty where none began."""
    if run is None:
        return ""
    place = f"wandb sync {quoted(Path(run.dir).parent)}" if run.offline else run.url
    return f"Weights & Biases: {place}"


def _without_places(config: Json, key: str = "") -> Any:
    """The config, fit to be shown to others: where images and models lie is left out; of a model, timm's name stays."""
    if isinstance(config, Mapping):
        return {name: _without_places(value, name) for name, value in config.items()}
    if isinstance(config, Sequence) and not isinstance(config, str):
        return [_without_places(value) for value in config]
    if key == "model" and isinstance(config, str):
        # Timm's own names are public; a folder or repository may be called like one, and only that is said of it.
        architecture = architecture_of(config)
        return architecture if timm.is_model(architecture) else PRIVATE
    return PRIVATE if key in ("path", "image_root", "signing_key") and config else config
