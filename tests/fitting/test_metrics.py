from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.labels import LabelSet
from fitting.metrics import MacroF1, decided
from fitting.module import Batch
from models.decision import DecisionRule
from tests.fitting.toy import ToyModule, run_toy, toy_config
from verify.metrics import label_facts, macro_f1

NAMES = ("a", "b", "c", "d")
NOMINAL = DecisionRule.of(LabelSet(NAMES, "nominal"))
ORDINAL = DecisionRule.of(LabelSet(NAMES, "ordinal"))


def test_decided__of_images_whose_votes_do_not_tie() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    targets = torch.tensor([[0.6, 0.4], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
    two = DecisionRule.of(LabelSet(("a", "b"), "nominal"))
    assert [part.tolist() for part in decided(logits, targets, two)] == [[0, 0, 1], [0, 1, 1]]
    assert [part.tolist() for part in decided(logits[:1], targets[1:2], two)] == [[], []]
    sets = replace(two, labels=LabelSet(("a", "b"), "multilabel"), thresholds=(0.5, 0.5))
    said, true = decided(logits, targets, sets)
    assert said.tolist() == [[True, True], [True, True], [True, True]]
    assert true.tolist() == [[True, False], [False, True], [False, True]]


@pytest.mark.parametrize("rule", [NOMINAL, ORDINAL])
def test_macro_f1__is_that_of_the_certificate(rule: DecisionRule) -> None:
    generator = np.random.default_rng(0)
    said = generator.integers(0, 4, 60)
    true = generator.integers(0, 3, 60)  # the last label is said and never true
    metric = MacroF1(4)
    for part in (slice(0, 7), slice(7, 60)):
        metric.update(torch.from_numpy(said[part]), torch.from_numpy(true[part]))
    assert metric.compute().item() == pytest.approx(macro_f1(label_facts(rule, true, said)))
    metric.reset()
    metric.update(torch.tensor([0]), torch.tensor([1]))
    assert metric.compute().item() == 0


class Judging(ToyModule):
    """The toy with labels that it decides between."""

    def __init__(self) -> None:
        super().__init__(toy_config(epochs=2))
        self._rule = NOMINAL
        self._macro_f1 = MacroF1(len(NAMES))
        self.last = nn.Linear(1, len(NAMES))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        logits = self.last(self.net(batch["x"]))
        targets = nn.functional.one_hot(batch["y"].long(), len(NAMES)).float()
        if not self.training:
            self.seen.append((logits.argmax(1), targets.argmax(1)))
        return {**values, **self.judged(logits, targets)}


def test_fit__macro_f1_of_each_epochs_validation_images(tmp_path: Path) -> None:
    module = Judging()
    _, metrics = run_toy(tmp_path, module=module)
    batches = len(module.seen) // 2
    start = int(metrics["epoch"]) * batches
    said, true = (torch.cat(part).numpy() for part in zip(*module.seen[start : start + batches], strict=True))
    assert metrics["val_macro_f1"] == pytest.approx(macro_f1(label_facts(NOMINAL, true, said)))
    assert metrics["val_accuracy"] == pytest.approx((said == true).mean())
    header, *_ = (tmp_path / "fit" / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "val_macro_f1" in header.split(",")
