"""Config sections that every stage shares, and how a section says what is wrong with it."""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from run.usage import usable_cores


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Devices and precision; handed to Lightning's ``Trainer``."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Hardware to run on; ``auto`` takes a GPU where there is one."""
    devices: int | list[int] | Literal["auto"] = "auto"
    """Number of devices, or their indices."""
    num_nodes: int = 1
    """Number of machines."""
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    """Lightning's strategy; ``auto`` is ``ddp`` where there are several devices. docs/machines.md has more."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """``auto`` is bf16 where the hardware multiplies it faster, else float32."""
    num_workers: int | Literal["auto"] = "auto"
    """Processes per device that read and render images while the model runs; 0 does it in the main process. ``auto`` is
    a device's share of the cores but one, between 2 and 16."""
    frozen_batch_size: int | Literal["auto"] = "auto"
    """Images that go through a frozen model (the teacher while it labels views) at a time; what it gives depends on it
    in last digits only. ``auto``: on a GPU what its memory holds, up to 128; on a CPU as many as let it use the same
    memory again and again. A view cache writes the number down and keeps to it."""
    micro_batch: int | Literal["auto"] = "auto"
    """Images that go through a model at a time while it is trained on images; an optimizer step still sees
    ``batch_size`` of them, and learns the same from them. ``auto``: the whole batch, halved for good wherever a GPU's
    memory is too small; batches of models with batch norm are not split unless a number is given here."""
    checkpoint_minutes: float | None = 15.0
    """A fit is kept after each of its epochs, and in long ones every so many minutes; null keeps it after epochs
    alone."""
    compile_frozen: bool = False
    """Compile frozen models (``torch.compile``): up to two minutes at each start, then more images/s."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("num_workers", lambda: self.num_workers == "auto" or self.num_workers >= 0, "0 or more, or auto")
            batch = "1 or more, or auto"
            require("frozen_batch_size", lambda: self.frozen_batch_size == "auto" or self.frozen_batch_size >= 1, batch)
            require("micro_batch", lambda: self.micro_batch == "auto" or self.micro_batch >= 1, batch)
            require("devices", lambda: _are_devices(self.devices), "auto, a number from 1, or different indices from 0")
            require("num_nodes", lambda: self.num_nodes >= 1, "1 or more")
            minutes = self.checkpoint_minutes
            require("checkpoint_minutes", lambda: minutes is None or minutes >= 0, "0 or more, or null")

    @property
    def workers(self) -> int:
        """``num_workers``, with ``auto`` worked out for this machine."""
        if self.num_workers != "auto":
            return self.num_workers
        counted = len(self.devices) if isinstance(self.devices, list) else self.devices
        started = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes on this machine, where torchrun started them
        processes = counted if isinstance(counted, int) and counted > 0 else started
        # srun may have bound each of its tasks to its own share of the cores already.
        bound = os.environ.get("SLURM_CPU_BIND_TYPE", "").startswith(("mask_cpu", "map_cpu"))
        if bound and os.environ.get("SLURM_NTASKS", "1") != "1":
            processes = 1
        return min(16, max(2, usable_cores() // processes - 1))


def _are_devices(devices: int | list[int] | str) -> bool:
    if isinstance(devices, list):
        return len(devices) == len(set(devices)) > 0 and min(devices) >= 0
    return isinstance(devices, str) or devices >= 1 or devices == -1


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Tracking of metrics. A fit always has a CSV file; no image, path or sample ever leaves the machine."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases mode."""
    project: str = "pocketeva"
    """Weights & Biases project."""
    tensorboard: bool = False
    """Write TensorBoard's files too, beside each fit's CSV file. Needs the extra ``tensorboard``."""


@dataclass(frozen=True)
class Mistake:
    """A value that its type allows and its section does not."""

    key: str
    """Path inside the section, such as ``lr`` or ``students[0].loss``."""
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.key} is {shown(self.value)}; it must be {self.allowed}"


class ConfigError(ValueError):
    """Every mistake of one section."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)


class UnknownValueError(Exception):
    """A check asks for a value that could not be read: the check has to be left out."""


Require = Callable[[str, Callable[[], bool], str], None]
"""Notes a mistake under a key where the check gives false; the last is what the key's value must be."""


@contextmanager
def checking(section: object) -> Iterator[Require]:
    """Collect what is wrong with a section, so that all of it is said at once.

    Each check is a function, because a config file's section is checked even where some of its values could not be
    read: a check that asks for one of those is left out, and the others count.

    Example:
        >>> def __post_init__(self):
        ...     with checking(self) as require:
        ...         require("epochs", lambda: self.epochs >= 1, "1 or more")

    Raises:
        ConfigError: at the end of the block, if a check did not hold.
    """
    mistakes: list[Mistake] = []

    def require(key: str, holds: Callable[[], bool], allowed: str) -> None:
        with suppress(UnknownValueError):
            if not holds():
                mistakes.append(Mistake(key, _value_at(section, key), allowed))

    with suppress(UnknownValueError):
        yield require
    if mistakes:
        raise ConfigError(mistakes)


PLAIN_NAME = "letters, digits, dots, dashes and underscores"


def is_plain_name(name: str, but: str = "") -> bool:
    """``PLAIN_NAME``, the first a letter or a digit: safe as a folder's name everywhere; ``but`` is taken."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None and name != but


def plain_name(text: str) -> str:
    """``PLAIN_NAME`` made of any text; empty where it has no letter and no digit.

    Example:
        >>> plain_name("my photos (2)"), plain_name("写真")
        ('my-photos-2', '9c3250')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    if not any(letter.isalnum() and not letter.isascii() for letter in text):
        return name
    # What was left out may be all that tells two configs apart, and their runs would be one folder.
    digest = hashlib.sha256(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name}-{digest[:6]}".lstrip("-")


def shown(value: object) -> str:
    """A value as YAML has it, on one line."""
    words = " ".join(value.split()) if isinstance(value, str) else ""
    text = words or json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _value_at(section: Any, key: str) -> object:
    for name in re.findall(r"\w+", key):
        section = section[int(name)] if name.isdigit() else getattr(section, name)
    return section
