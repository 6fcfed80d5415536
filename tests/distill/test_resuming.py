"""Students that are interrupted again and again end with the weights of one that was not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from data.config import ViewsConfig
from distill.config import StudentConfig
from distill.module import StudentModule
from fitting.module import Batch
from tests.distill.test_distill import STUDENT, Prepared, distilled
from tests.distill.test_live import with_teacher
from tests.support import interrupted

FIT = replace(STUDENT.fit, epochs=4, batch_size=8, ema_decay=None, patience=3)
CACHED = replace(STUDENT, fit=FIT)
VARIANTS = {
    "cached": CACHED,
    "cached, averaged": replace(CACHED, fit=replace(FIT, ema_decay=0.9)),
    "live": replace(CACHED, live=1.0),
    "mixed": replace(CACHED, live=0.5, fit=replace(FIT, ema_decay=0.9)),
    "mixup": replace(CACHED, live=0.5, mixup=0.3),
}
VALIDATION = (2.0, 4.0, 3.0, 1.0)
"""By epoch: where the second and the third one end, the state to go on from is not the best one."""


@pytest.mark.parametrize("name", VARIANTS)
def test_distill__interrupted_after_epochs_that_are_not_the_best(
    elpv_run: Prepared, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = StudentModule.losses

    def scripted(self: StudentModule, batch: Batch) -> dict[str, Tensor]:
        values = losses(self, batch)
        return values if self.training else {**values, "loss": values["loss"] * 0 + VALIDATION[self.current_epoch]}

    monkeypatch.setattr(StudentModule, "losses", scripted)
    config: StudentConfig = VARIANTS[name]
    manifest, views = elpv_run[1], ViewsConfig(count=2)
    whole = with_teacher(elpv_run[0], tmp_path / "whole", "head")
    expected = distilled(whole, manifest, config, views)
    cut = with_teacher(elpv_run[0], tmp_path / "cut", "head")
    # Once within an epoch too: the mixed ones, and those with averaged weights.
    cut = replace(cut, trainer=replace(cut.trainer, checkpoint_minutes=0 if name in ("mixed", "mixup") else None))
    resumed = interrupted(lambda: distilled(cut, manifest, config, views), (2, 0), (3, 1))
    assert resumed.weights_digest() == expected.weights_digest()
    metrics = [json.loads((run.folder.student("phone") / "metrics.json").read_text()) for run in (whole, cut)]
    assert metrics[0]["fit"] == metrics[1]["fit"]
    assert metrics[0]["fit"]["epoch"] == 3
