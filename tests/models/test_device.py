import pytest
import timm
import torch

from models.building import size_args
from models.device import device_of, is_convolutional, precision_for, resolve_precision
from run.config import TrainerConfig


@pytest.mark.parametrize(
    ("devices", "local", "expected"), [(1, 0, 0), ("auto", 3, 3), ("auto", 5, 1), ([2, 3], 1, 3), ([2], 1, 2)]
)
def test_device_of__each_process_of_a_machine_takes_its_own(
    monkeypatch: pytest.MonkeyPatch, devices: int | list[int] | str, local: int, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", str(local))
    trainer = TrainerConfig(accelerator="auto", devices=devices)  # type: ignore[arg-type]
    assert device_of(trainer) == torch.device("cuda", expected)


def test_resolve_precision__says_what_the_config_says() -> None:
    assert resolve_precision(TrainerConfig(precision="bf16-mixed"), convolutional=True) == "bf16-mixed"
    assert resolve_precision(TrainerConfig(precision="32-true"), convolutional=False) == "32-true"


@pytest.mark.parametrize(("tiles", "transformer"), [(True, "bf16-mixed"), (False, "32-true")])
def test_resolve_precision__cpu(tiles: bool, transformer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    trainer = TrainerConfig(accelerator="cpu")
    assert resolve_precision(trainer, convolutional=False) == transformer
    assert resolve_precision(trainer, convolutional=True) == "32-true"


@pytest.mark.parametrize(
    ("name", "size", "convolutional"),
    [
        ("eva02_tiny_patch14_224", 224, False),
        ("test_vit", 32, False),
        ("mobilenetv4_conv_small", 64, True),
        ("repvit_m0_9", 64, True),
        ("test_resnet", 32, True),
    ],
)
def test_precision_for__follows_the_model(
    name: str, size: int, convolutional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    model = timm.create_model(name, **size_args(name, size))
    assert is_convolutional(model) == convolutional
    assert precision_for(model, TrainerConfig(accelerator="cpu")) == ("32-true" if convolutional else "bf16-mixed")
