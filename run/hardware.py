"""Hardware that the config asks for, looked for before any work."""

import os
import sys
from pathlib import Path

from run.config import TrainerConfig
from run.errors import UserError, plural
from run.ranks import this_rank

_GPU_DEVICES = ("nvidiactl", "nvidia0", "dxg", "kfd", "nvhost-gpu", "nvmap")
"""Files below ``/dev``: NVIDIA's, those of Windows' subsystem for Linux, AMD's and Jetson's."""


def require_hardware(trainer: TrainerConfig) -> None:
    """Check that this machine has what ``trainer`` names; where other machines take part, each looks for itself."""
    if this_rank().world > 1 or (trainer.accelerator, trainer.devices, trainer.precision) == ("auto", "auto", "auto"):
        return  # torchrun and srun show each process its own part
    gpus = 0 if trainer.accelerator == "cpu" else _gpu_count()
    on_mps = trainer.accelerator in ("auto", "gpu", "mps") and not gpus and _has_mps()
    if trainer.accelerator not in ("auto", "cpu") and not on_mps and (trainer.accelerator == "mps" or not gpus):
        what = "no MPS" if trainer.accelerator == "mps" else "no GPU"
        raise UserError(
            f"trainer.accelerator is {trainer.accelerator}, and there is {what} here: set it to auto or cpu"
        )
    if gpus:
        _require_gpus(trainer, gpus)
    elif isinstance(trainer.devices, list) and not (on_mps and trainer.devices == [0]):
        one = "MPS it must be auto" if on_mps else "a CPU it must be the number of processes"
        raise UserError(f"trainer.devices is {trainer.devices}; on {one}")
    if trainer.precision == "16-mixed" and not (gpus or on_mps):
        raise UserError("trainer.precision is 16-mixed, and there is no GPU here: set it to auto or 32-true")


def _require_gpus(trainer: TrainerConfig, gpus: int) -> None:
    devices = trainer.devices
    last = max(devices) if isinstance(devices, list) else (0 if devices == "auto" else devices - 1)
    if last >= gpus:
        numbered = " (number 0)" if gpus == 1 else f" (numbers 0 to {gpus - 1})"
        raise UserError(f"trainer.devices is {devices}, and this machine has {plural(gpus, 'GPU')}{numbered}")


def _gpu_count() -> int:
    """GPUs that torch sees; torch, which takes seconds to import, is asked only where there may be one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return 0
    if sys.platform == "linux" and not any((Path("/dev") / name).exists() for name in _GPU_DEVICES):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_mps() -> bool:
    if sys.platform != "darwin":
        return False
    import torch

    return torch.backends.mps.is_available()
