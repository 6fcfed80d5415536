import pytest

from train.config import HeadConfig, TeacherConfig


@pytest.mark.parametrize(
    ("images", "batch"), [(1, 16), (300, 16), (1023, 32), (1024, 64), (8191, 256), (8192, 512), (100_000, 512)]
)
def test_sized_for__an_epoch_has_steps_enough(images: int, batch: int) -> None:
    head = TeacherConfig().head
    assert head.sized_for(images).batch_size == batch
    assert batch == 16 or images // batch >= head.epoch_steps


@pytest.mark.parametrize(("given", "taken"), [(8, 8), (16, 16), (31, 31), (100, 25)])
def test_sized_for__small_batches_stay(given: int, taken: int) -> None:
    assert HeadConfig(epochs=1, batch_size=given, lr=1.0).sized_for(20).batch_size == taken


def test_sized_for__one_step_an_epoch_is_enough_where_it_is_asked_for() -> None:
    assert HeadConfig(epochs=1, batch_size=512, lr=1.0, epoch_steps=1).sized_for(600).batch_size == 512
