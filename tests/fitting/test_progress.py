import io
import re
from pathlib import Path

import pytest
from torch import Tensor, ones

from fitting.module import Batch
from run.console import SafeConsole
from tests.fitting.toy import ToyModule, run_toy, toy_config


class Accurate(ToyModule):
    """Right on three of four images, and the worse the longer it learns."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        worse = 0.0 if self.training else 10.0 * self.current_epoch
        return {**values, "loss": values["loss"] + worse, "accuracy": 0.75 * ones(()), "macro_f1": 0.5 * ones(())}


def test_fit_progress__without_a_terminal_a_line_with_the_time_for_each_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_toy(tmp_path, module=Accurate(toy_config(epochs=5, patience=2)), name="teacher")
    *epochs, last = capsys.readouterr().err.splitlines()
    assert len(epochs) == 3
    for number, line in enumerate(epochs, 1):
        assert re.fullmatch(
            rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d teacher: epoch {number}/5, validation loss \d+\.\d{{3}}, "
            r"accuracy 75\.0%, macro F1 0\.500, best epoch 1, \d+\.\d GB, \d+\.\d s spent, \d+\.\d s left",
            line,
        )
    assert last.endswith(
        "teacher: stopped early after epoch 3 of 5, because the validation loss got no better; epoch 1 is kept"
    )


def test_fit_progress__on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = SafeConsole(file=io.StringIO(), force_terminal=True, width=60, highlight=False, no_color=True)
    monkeypatch.setattr("fitting.progress.log", screen)
    run_toy(tmp_path, module=Accurate(toy_config(epochs=5, patience=2)), name="teacher")
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    final = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.rpartition("stopped early")[2])
    for word in (
        "teacher",
        "epoch 3/5",
        "validation",
        "loss",
        "accuracy",
        "75.0%",
        "best epoch",
        "spent",
        "left",
        "100%",
    ):
        assert word.split()[0] in final, word
    assert "…" not in final
    assert all(len(line) <= 60 for line in final.splitlines())
