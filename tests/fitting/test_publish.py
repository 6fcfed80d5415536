from pathlib import Path

import pytest
import torch
from torch import Tensor

from fitting.callbacks import PublishBest, publishing
from fitting.module import Batch
from models import checkpoint
from models.facts import CheckpointFacts
from run.folder import RunFolder
from tests.fitting.test_fit import StopBefore
from tests.fitting.toy import ToyModule, run_toy, toy_config
from tests.support import TWO, context, tiny


class Scripted(ToyModule):
    """A fit whose validation losses are known beforehand."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        known = torch.tensor([3.0, 1.0, 2.0, 0.5][self.current_epoch])
        return values if self.training else {**values, "loss": known}


def test_publish_best__only_better_epochs_and_not_again_after_a_resumption(tmp_path: Path) -> None:
    classifier, seen = tiny(labels=TWO), []

    def publish(name: str, folder: Path, message: str) -> None:
        seen.append(message)
        assert CheckpointFacts.read(folder).epoch == int(message.split("epoch ")[1].split(",")[0])

    def publishes() -> PublishBest:
        return PublishBest("phone", lambda: classifier, tmp_path / "best", publish)

    config = toy_config(epochs=4)
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path, module=Scripted(config), callbacks=[publishes(), StopBefore(2)])
    run_toy(tmp_path, module=Scripted(config), callbacks=[publishes()])
    assert seen == [f"phone: epoch {epoch}, validation loss {loss:.4f}" for epoch, loss in ((0, 3), (1, 1), (3, 0.5))]
    assert checkpoint.load(tmp_path / "best", TWO).weights_digest() == classifier.weights_digest()


def test_publishing__nothing_where_nothing_is_published(tmp_path: Path) -> None:
    assert publishing(context(RunFolder(tmp_path)), "phone", tiny, tmp_path) == []
