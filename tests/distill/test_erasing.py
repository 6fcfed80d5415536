from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from distill.erasing import AREAS, LARGEST_RATIO, Erasing, draw_rectangles, erased
from tests.support import uint8_batch


def test_draw_rectangles__inside_the_image_and_as_large_as_promised() -> None:
    drawn = draw_rectangles(1.0, 4000, 96, (1, 2, 3))
    assert (drawn == draw_rectangles(1.0, 4000, 96, (1, 2, 3))).all()
    assert (drawn != draw_rectangles(1.0, 4000, 96, (1, 2, 4))).any()
    assert drawn.min() == 0
    assert drawn.max() == 96
    width, height = (drawn[:, 2:] - drawn[:, :2]).T
    areas = width * height / 96**2
    assert AREAS[0] - 0.01 <= areas.min() <= AREAS[0] + 0.01
    assert AREAS[1] - 0.01 <= areas.max() <= AREAS[1] + 0.01
    ratios = width / height
    assert LARGEST_RATIO * 0.9 <= ratios.max() <= LARGEST_RATIO * 1.15
    assert 1 / LARGEST_RATIO * 0.87 <= ratios.min() <= 1 / LARGEST_RATIO * 1.1
    # Each pixel is covered, those in the middle more often.
    assert len(set(drawn[:, 0].tolist())) > 60


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_draw_rectangles__for_a_share_of_the_images(share: float) -> None:
    drawn = draw_rectangles(share, 4000, 32, (7,))
    empty = (drawn[:, 2:] == drawn[:, :2]).any(1)
    assert 1 - empty.mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_erased__the_rectangle_and_nothing_else(dtype: torch.dtype) -> None:
    images = uint8_batch(3, 8).to(dtype)
    before = images.clone()
    result = erased(images, np.array([[1, 2, 4, 7], [0, 0, 0, 0], [0, 0, 8, 8]]))
    assert result.dtype == dtype
    assert torch.equal(images, before)
    mean = images.double().mean((2, 3))
    if dtype == torch.uint8:
        mean = mean.round()
    torch.testing.assert_close(result[0, :, 2:7, 1:4].double(), mean[0, :, None, None].expand(3, 5, 3))
    untouched = torch.ones(8, 8, dtype=torch.bool)
    untouched[2:7, 1:4] = False
    assert torch.equal(result[0][:, untouched], images[0][:, untouched])
    assert torch.equal(result[1], images[1])
    torch.testing.assert_close(result[2].double(), mean[2, :, None, None].expand(3, 8, 8))


def test_erasing__draws_by_seed_epoch_and_batch_and_leaves_the_teachers_render() -> None:
    def shown(seed: int, epoch: int, number: int) -> torch.Tensor:
        batch: dict[str, Any] = {"image": uint8_batch(16, 16), "teacher_image": uint8_batch(16, 16)}
        trainer = cast("Any", SimpleNamespace(current_epoch=epoch))
        Erasing(1.0, seed).on_train_batch_start(trainer, cast("Any", None), batch, number)
        assert torch.equal(batch["teacher_image"], uint8_batch(16, 16))
        image: torch.Tensor = batch["image"]
        return image

    first = shown(0, 1, 2)
    assert torch.equal(first, shown(0, 1, 2))
    others = [uint8_batch(16, 16), shown(1, 1, 2), shown(0, 2, 2), shown(0, 1, 3)]
    assert not any(torch.equal(first, other) for other in others)
