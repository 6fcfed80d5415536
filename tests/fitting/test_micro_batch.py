import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.loaders import EpochSampler, whole_images
from fitting.config import FitConfig
from fitting.fit import FitRequest, fit
from fitting.micro_batch import parts_of, whole_of
from models.building import build
from run.errors import UserError
from run.folder import RunFolder
from run.ranks import this_rank
from tests.fitting.test_fit import StopBefore, states_equal
from tests.fitting.toy import SmallMemory, ToyModule, run_toy, toy_config
from tests.support import TRAINER, TWO, context, uint8_batch
from train.module import TeacherModule


class Gradients(Callback):
    """Remembers the gradients of the first step, before they are clipped."""

    def __init__(self) -> None:
        self.first: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if not self.first:
            self.first = [p.grad.clone() for p in pl_module.parameters() if p.grad is not None]


class Images(Dataset[dict[str, Any]]):
    """Eight images of random pixels, labeled in turn."""

    images = uint8_batch(8, 56)

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        row, _ = item
        return {"image": self.images[row], "target": torch.eye(2)[row % 2], "image_id": str(row)}


def gradients_of_eva(folder: Path, micro_batch: int, *, checkpointing: bool = False) -> list[Tensor]:
    """Of one step over eight images, with stochastic depth."""
    torch.manual_seed(0)
    name = "eva02_tiny_patch14_224"
    classifier = build(name, TWO, key="teacher", pretrained=False, image_size=56, drop_path=0.5)
    config = FitConfig(epochs=1, batch_size=8, lr=1e-3)
    seen = Gradients()
    request = FitRequest(
        module=TeacherModule(classifier, config, torch.ones(2), 0.75, checkpointing=checkpointing),
        learned=DataLoader(Images(), batch_size=8, sampler=EpochSampler(8, None, seed=0)),
        held_out=DataLoader(Images(), batch_size=8, sampler=whole_images(2, this_rank())),
        name="eva",
        folder=folder,
        precision="32-true",
        callbacks=[seen],
    )
    fit(request, context(RunFolder(folder), trainer=replace(TRAINER, micro_batch=micro_batch)))
    return seen.first


def test_fit__a_step_has_the_same_gradient_however_its_batch_is_split(tmp_path: Path) -> None:
    whole = gradients_of_eva(tmp_path / "whole", 8)
    assert max(gradient.abs().max() for gradient in whole) > 1e-2
    for number, (size, checkpointing) in enumerate([(8, True), (5, False), (1, True)]):
        split = gradients_of_eva(tmp_path / str(number), size, checkpointing=checkpointing)
        for left, right in zip(whole, split, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_fit__batch_norm_goes_by_the_images_that_go_through_together(tmp_path: Path) -> None:
    """The exception that docs state: nothing else of the toy depends on what else is in a part."""
    found = {}
    for size in (8, 4):
        seen = Gradients()
        run_toy(tmp_path / str(size), toy_config(epochs=1), micro_batch=size, callbacks=[seen])
        found[size] = torch.cat([gradient.flatten() for gradient in seen.first])
    assert (found[8] - found[4]).abs().max() > 1e-3


def test_parts_of__and_whole_of_them() -> None:
    batch = {"x": torch.arange(5.0), "image_id": list("abcde")}
    parts = [part for _, part in parts_of(batch, 2)]
    assert [part["image_id"] for part in parts] == [["a", "b"], ["c", "d"], ["e"]]
    assert [start for start, _ in parts_of(batch, 2)] == [0, 2, 4]
    values = [{"loss": part["x"].mean(), "right": part["x"]} for part in parts]
    whole = whole_of(values, [2, 2, 1])
    assert whole["loss"].item() == pytest.approx(2.0)
    assert whole["right"].tolist() == [0, 1, 2, 3, 4]


HOLDS = {0: 8, 5: 3}


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallMemory, dict[str, float], Path]:
    """A fit whose memory becomes too small in the third step of its second epoch."""
    folder = tmp_path_factory.mktemp("halved")
    config = toy_config(ema_decay=0.5)
    module = SmallMemory(config, HOLDS)
    _, metrics = run_toy(folder, module=module)
    return module, metrics, folder


def test_fit__a_full_memory_halves_what_goes_through_and_changes_nothing_else(
    halved: tuple[SmallMemory, dict[str, float], Path], tmp_path: Path
) -> None:
    module, metrics, folder = halved
    assert module.sizes == [8] * 5 + [2] * 4 * 7
    splits = json.loads((folder / "fit" / "micro_batch.json").read_text())
    assert [(split["step"], split["images"]) for split in splits] == [(0, 8), (5, 2)]
    whole, expected = run_toy(tmp_path, module=SmallMemory(module.config))
    assert metrics == pytest.approx(expected, rel=1e-4)
    for left, right in zip(module.state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at", [(1, 1), (1, 2), (2, 1)])
def test_fit__cut_before_or_after_its_memory_was_full_it_ends_with_the_same_weights(
    halved: tuple[SmallMemory, dict[str, float], Path], tmp_path: Path, at: tuple[int, int]
) -> None:
    """Also where memory is larger when the fit goes on: the steps are those of the first time."""
    module, metrics, _ = halved
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path, module=SmallMemory(module.config, HOLDS), callbacks=[StopBefore(*at)])
    holds = HOLDS if at <= (1, 2) else {}  # this is the step whose memory is full
    again, found = run_toy(tmp_path, module=SmallMemory(module.config, holds))
    assert found == metrics
    assert states_equal(again, module)


def test_fit__another_micro_batch_starts_another_record(tmp_path: Path) -> None:
    config = toy_config(epochs=2)
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path, module=SmallMemory(config, {0: 2}), callbacks=[StopBefore(1)])
    module, _ = run_toy(tmp_path, module=SmallMemory(config), micro_batch=3)
    assert module.sizes == [3, 3, 2] * 3


def test_fit__memory_too_small_for_one_image_is_the_users_to_put_right(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"too small to train this model on a single image: .*\(lora, last_blocks, head\)"
    ):
        run_toy(tmp_path, module=SmallMemory(toy_config(), {0: 0}))


def test_fit__memory_too_small_for_the_optimizer_is_the_users_to_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(UserError, match=r"too small for the optimizer's state.*\(lora, last_blocks, head\)"):
        run_toy(tmp_path)


def test_fit__checkpointing_where_not_one_image_fits_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Checkpointing(SmallMemory):
        checkpointing = "auto"

        def checkpoint_activations(self, on: bool) -> None:
            self.holds = {0: 4}

    module, _ = run_toy(tmp_path, module=Checkpointing(toy_config(epochs=1), {0: 0}))
    assert module.sizes == [4, 4] * 3
    assert "going on with 4 images at a time, their activations computed again" in capsys.readouterr().err


def test_fit__a_batch_that_must_not_be_split_says_why(tmp_path: Path) -> None:
    class Comparing(SmallMemory):
        whole = "loss: dist compares the images of a batch with each other"

    with pytest.raises(UserError, match=r"too small for 8 images .*: loss: dist compares .*\. Lower batch_size"):
        run_toy(tmp_path / "loss", module=Comparing(toy_config(), {0: 4}))

    class Normed(SmallMemory):
        def __init__(self) -> None:
            super().__init__(toy_config(), {0: 4})
            self.net = ToyModule(self.config).net
            self._groups = [{"params": list(self.net.parameters())}]

    with pytest.raises(UserError, match=r"it has batch norms.*trainer\.micro_batch: N splits .*\. Lower batch_size"):
        run_toy(tmp_path / "norm", module=Normed())
    assert Normed().sizes == []
    run_toy(tmp_path / "asked", module=(module := Normed()), micro_batch=4)
    assert set(module.sizes) == {4}
