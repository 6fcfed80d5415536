import numpy as np
import pytest
import torch

from benchmarks.noise import NOISES
from fitting.module import Batch

SIZE = 16


def batch() -> Batch:
    """Two images, one black with a label and one white without, and a teacher who is sure of both."""
    image = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    image[1] = 255
    return {
        "image": image,
        "target": torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        "labeled": torch.tensor([1.0, 0.0]),
        "teacher": torch.tensor([[9.0, -9.0], [-9.0, 9.0]]),
    }


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_noise__the_teacher_is_blended_as_the_images_are(name: str) -> None:
    generator = np.random.default_rng(3)
    blends = [NOISES[name](batch(), generator) for _ in range(20)]
    shares = [found["image"].float().mean((1, 2, 3)) / 255 for found in blends]
    assert any(0.05 < float(share[0]) < 0.95 for share in shares)
    for found, white in zip(blends, shares, strict=True):
        torch.testing.assert_close(found["teacher"].softmax(1)[:, 1], white, atol=1e-4, rtol=0)
        torch.testing.assert_close(found["labeled"], 1 - white, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["color", "shifts", "randaugment"])
def test_noise__changes_images_alone(name: str) -> None:
    torch.manual_seed(0)
    given = batch()
    given["image"] = torch.randint(0, 256, given["image"].shape, dtype=torch.uint8)
    found = NOISES[name](given, np.random.default_rng(0))
    assert found["image"].shape == given["image"].shape
    assert found["image"].dtype == torch.uint8
    assert not torch.equal(found["image"], given["image"])
    assert all(found[key] is given[key] for key in ("target", "labeled", "teacher"))
