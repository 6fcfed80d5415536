from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forward import FrozenForward, forward_of, in_order
from run.errors import UserError
from tests.support import TRAINER, tiny, uint8_batch

CPU = torch.device("cpu")


class SmallMemory:
    """A model on a GPU that holds few images."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.batches: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        if len(images) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.float().mean((2, 3))


def means(images: Tensor) -> NDArray[np.float32]:
    return np.asarray(images.float().mean((2, 3)).numpy())


def frozen(model: Any, batch: int = 64, *, one_shape: bool = False) -> FrozenForward:
    return FrozenForward(model, CPU, lambda: batch, one_shape=one_shape)


def test_frozen_forward__halves_until_it_fits_and_stays_there(capsys: pytest.CaptureFixture[str]) -> None:
    model = SmallMemory(20)
    forward, images = frozen(model), uint8_batch(64, 4)
    assert np.array_equal(forward(images), means(images))
    assert model.batches == [64, 32, 16, 16, 16, 16]
    said = capsys.readouterr().err
    assert "32 images in a batch" in said
    assert "16 images in a batch" in said
    assert np.array_equal(forward.start(images[:40])(), means(images[:40]))
    assert model.batches[6:] == [16, 16, 8]
    assert capsys.readouterr().err == ""


def test_frozen_forward__no_room_for_one_image_is_the_users_to_know() -> None:
    model = SmallMemory(0)
    with pytest.raises(UserError, match="does not hold the model and one image"):
        frozen(model)(uint8_batch(3, 4))
    assert model.batches == [3, 1]


def test_frozen_forward__called_it_goes_by_its_batch_size_and_started_by_what_it_gets() -> None:
    model, images = SmallMemory(99), uint8_batch(10, 4)
    forward = frozen(model, 4)
    assert np.array_equal(forward(images), means(images))
    assert np.array_equal(forward.start(images)(), means(images))
    assert model.batches == [4, 4, 2, 10]


def test_frozen_forward__for_one_shape_fills_up_what_is_started() -> None:
    model, images = SmallMemory(99), uint8_batch(10, 4)
    forward = frozen(model, 8, one_shape=True)
    for count in (8, 3, 10):
        assert np.array_equal(forward.start(images[:count])(), means(images[:count]))
    assert model.batches == [8, 8, 10]


def test_in_order__hands_on_the_next_batch_before_it_waits_for_the_last() -> None:
    happened: list[str] = []

    class Watched(FrozenForward):
        def start(self, images: Tensor) -> Any:
            started, number = super().start(images), len(images)
            happened.append(f"start {number}")
            return lambda: happened.append(f"wait {number}") or started()  # type: ignore[func-returns-value]

    def batches() -> Iterator[Tensor]:
        for count in (1, 2, 3):
            yield uint8_batch(count, 4)

    found = list(in_order(Watched(SmallMemory(99), CPU, lambda: 64), batches()))
    assert happened == ["start 1", "start 2", "wait 1", "start 3", "wait 2", "wait 3"]
    for values, batch in zip(found, batches(), strict=True):
        assert np.array_equal(values, means(batch))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_in_order__of_a_plain_function(count: int) -> None:
    found = list(in_order(means, (uint8_batch(1, 4, seed) for seed in range(count))))
    assert np.array_equal(np.array(found), np.array([means(uint8_batch(1, 4, seed)) for seed in range(count)]))


def test_forward_of__the_config_may_name_the_batch() -> None:
    classifier = tiny()
    auto = replace(TRAINER, frozen_batch_size="auto")
    assert forward_of(classifier, "logits", auto, "32-true").batch_size == 128, "all that is allowed: it is tiny"
    assert forward_of(classifier, "logits", replace(TRAINER, frozen_batch_size=5), "32-true").batch_size == 5


@pytest.fixture
def compiler() -> None:
    try:
        torch.compile(torch.sin)(torch.ones(3))
    except Exception as error:  # noqa: BLE001 - whatever it is that torch lacks here
        pytest.skip(f"torch cannot compile here: {str(error).splitlines()[0]}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("compiler")
def test_forward_of__compiled_gives_the_same_but_for_rounding_whatever_the_batch() -> None:
    classifier, images = tiny(), uint8_batch(4, 32)
    expected = forward_of(classifier, "features", TRAINER, "32-true")(images)
    told = replace(TRAINER, compile_frozen=True, frozen_batch_size=4)
    compiled = forward_of(classifier, "features", told, "32-true")
    whole = compiled.start(images)()
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(compiled.start(images[:3])(), whole[:3]), "filled up to the same shape: the same digits"


def test_forward_of__without_a_compiler_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuses)
    forward = forward_of(tiny(), "logits", replace(TRAINER, compile_frozen=True, frozen_batch_size=1), "32-true")
    with pytest.raises(UserError, match=r"compile_frozen is true, but .*No working C\+\+ compiler found\n.* false"):
        forward(uint8_batch(1, 32))
