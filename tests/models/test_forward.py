import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forward import BATCH_SIZE, device_of, in_smaller_batches_if_need_be
from run.config import TrainerConfig
from run.errors import UserError
from tests.support import uint8_batch


class SmallMemory:
    """A model on a GPU that holds few images."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.batches: list[int] = []

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        self.batches.append(len(images))
        if len(images) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.float().mean((2, 3)).numpy()


def test_in_smaller_batches__halves_until_it_fits_and_stays_there(capsys: pytest.CaptureFixture[str]) -> None:
    model = SmallMemory(20)
    forward = in_smaller_batches_if_need_be(model)
    images = uint8_batch(BATCH_SIZE, 4)
    assert np.array_equal(forward(images), images.float().mean((2, 3)).numpy())
    assert model.batches == [64, 32, 16, 16, 16, 16]
    said = capsys.readouterr().err
    assert "32 images in a batch" in said
    assert "16 images in a batch" in said
    forward(images[:40])
    assert model.batches[6:] == [16, 16, 8]
    assert capsys.readouterr().err == ""


def test_in_smaller_batches__one_batch_is_passed_on_whole() -> None:
    model = SmallMemory(BATCH_SIZE)
    in_smaller_batches_if_need_be(model)(uint8_batch(BATCH_SIZE, 4))
    assert model.batches == [BATCH_SIZE]


def test_in_smaller_batches__no_room_for_one_image_is_the_users_to_know() -> None:
    model = SmallMemory(0)
    with pytest.raises(UserError, match="does not hold the model and one image"):
        in_smaller_batches_if_need_be(model)(uint8_batch(3, 4))
    assert model.batches == [3, 1]


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
