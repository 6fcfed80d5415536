from typing import Any

import pytest
import torch

from run import hardware
from run.config import ConfigError, TrainerConfig
from run.errors import UserError
from run.hardware import require_hardware


@pytest.mark.parametrize(
    ("gpus", "mps", "trainer"),
    [
        (0, False, {}),
        (0, False, {"accelerator": "cpu", "devices": 4, "precision": "bf16-mixed"}),
        (0, True, {"accelerator": "gpu", "devices": [0]}),
        (0, True, {"accelerator": "mps", "precision": "16-mixed"}),
        (2, False, {"accelerator": "gpu", "devices": [1, 0]}),
        (2, False, {"devices": 2, "precision": "16-mixed"}),
        (2, False, {"accelerator": "cuda", "devices": -1}),
    ],
)
def test_require_hardware__that_is_there(
    monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, trainer: dict[str, Any]
) -> None:
    monkeypatch.setattr(hardware, "_gpu_count", lambda: gpus)
    monkeypatch.setattr(hardware, "_has_mps", lambda: mps)
    require_hardware(TrainerConfig(**trainer))


@pytest.mark.parametrize(
    ("gpus", "trainer", "message"),
    [
        (0, {"accelerator": "gpu"}, "trainer.accelerator is gpu, and there is no GPU here: set it to auto or cpu"),
        (0, {"accelerator": "cuda"}, "trainer.accelerator is cuda, and there is no GPU here: set it to auto or cpu"),
        (2, {"accelerator": "mps"}, "trainer.accelerator is mps, and there is no MPS here: set it to auto or cpu"),
        (0, {"devices": [0, 3]}, r"trainer.devices is \[0, 3\]; on a CPU it must be the number of processes"),
        (2, {"accelerator": "cpu", "devices": [0]}, r"trainer.devices is \[0\]; on a CPU it must be"),
        (2, {"devices": [0, 3]}, r"trainer.devices is \[0, 3\], and this machine has 2 GPUs \(numbers 0 to 1\)"),
        (1, {"devices": 4}, r"trainer.devices is 4, and this machine has 1 GPU \(number 0\)"),
        (0, {"precision": "16-mixed"}, "trainer.precision is 16-mixed, and there is no GPU here"),
        (2, {"accelerator": "cpu", "precision": "16-mixed"}, "trainer.precision is 16-mixed, and there is no GPU"),
    ],
)
def test_require_hardware__that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, gpus: int, trainer: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(hardware, "_gpu_count", lambda: gpus)
    monkeypatch.setattr(hardware, "_has_mps", lambda: False)
    with pytest.raises(UserError, match=message):
        require_hardware(TrainerConfig(**trainer))


def test_require_hardware__with_none_to_be_seen_does_not_ask_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch is asked"))
    with pytest.raises(UserError, match="no GPU here"):
        require_hardware(TrainerConfig(accelerator="gpu"))


@pytest.mark.parametrize("devices", [0, -2, [], [0, 0], [-1]])
def test_trainer_config__devices_that_are_none(devices: Any) -> None:
    with pytest.raises(ConfigError, match="devices"):
        TrainerConfig(devices=devices)
