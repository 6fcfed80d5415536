import pytest
import torch
from torch import Tensor, nn

from models.batch_size import MOST, REUSED_BYTES, largest_that_fits, largest_that_reuses_memory

CPU = torch.device("cpu")
SIZE = 8


class Widens(nn.Module):
    """Gives ``bytes_each`` bytes per image, between two small results."""

    def __init__(self, bytes_each: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(3, bytes_each // 4), nn.Linear(bytes_each // 4, 1)
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        narrow: Tensor = self.narrow(self.wide(images.float().mean((2, 3))))
        return narrow


@pytest.mark.parametrize(
    ("bytes_each", "batch"),
    [(REUSED_BYTES // 4, 4), (REUSED_BYTES // 4 + 4, 2), (REUSED_BYTES + 4, 1), (64, MOST)],
)
def test_largest_that_reuses_memory__by_the_largest_result_of_one_image(bytes_each: int, batch: int) -> None:
    model = Widens(bytes_each)
    with torch.inference_mode():
        assert largest_that_reuses_memory(model, SIZE, CPU) == batch
    assert model.seen == [1]


def test_largest_that_reuses_memory__listens_no_longer_than_it_has_to() -> None:
    def fails(_: Tensor) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        largest_that_reuses_memory(fails, SIZE, CPU)
    assert not nn.modules.module._global_forward_hooks


@pytest.mark.parametrize(("holds", "batch"), [(1000, MOST), (MOST - 1, MOST // 2), (5, 4), (1, 1), (0, 1)])
def test_largest_that_fits__is_tried_out(holds: int, batch: int) -> None:
    def run(images: Tensor) -> None:
        assert images.shape[1:] == (3, SIZE, SIZE)
        if len(images) > holds:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert largest_that_fits(run, SIZE, CPU) == batch
