"""Config sections that every stage shares. Nothing here imports torch."""

import os
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Where the models run; handed to Lightning's ``Trainer``."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Hardware to run on; ``auto`` takes a GPU where there is one."""
    devices: int | list[int] | Literal["auto"] = "auto"
    """How many devices, or which."""
    num_nodes: int = 1
    """How many machines take part."""
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
    compile_frozen: bool = False
    """Compile frozen models (``torch.compile``): up to two minutes at each start, then more images/s."""

    def __post_init__(self) -> None:
        workers, batch = self.num_workers, self.frozen_batch_size
        require(workers == "auto" or workers >= 0, "trainer.num_workers", workers, "0 or more, or auto")
        require(batch == "auto" or batch >= 1, "trainer.frozen_batch_size", batch, "1 or more, or auto")
        require(self.num_nodes >= 1, "trainer.num_nodes", self.num_nodes, "1 or more")

    @property
    def workers(self) -> int:
        """``num_workers``, with ``auto`` worked out for this machine."""
        if self.num_workers != "auto":
            return self.num_workers
        counted = len(self.devices) if isinstance(self.devices, list) else self.devices
        started = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes on this machine, where torchrun started them
        processes = counted if isinstance(counted, int) and counted > 0 else started
        return min(16, max(2, (os.cpu_count() or 1) // processes - 1))


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where metrics go. A CSV file is always written; no image, path or sample ever is."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases mode."""
    project: str = "pocketeva"
    """Weights & Biases project."""


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Refuse a config value that its type cannot rule out.

    Raises:
        ValueError: ``condition`` is false; the message gives the key, the value and what is allowed.
    """
    if not condition:
        raise ValueError(f"{key} is {value!r}; it must be {allowed}")
