import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.labels import LabelSet
from fitting.diagnosis import (
    Note,
    diagnose_decisions,
    diagnose_fit,
    diagnose_gain,
    diagnose_path,
    diagnose_temperature,
    read_notes,
    say,
    to_json,
)
from fitting.history import Epoch
from models.decision import DecisionRule
from tests.fitting.toy import toy_config

RULE = DecisionRule.of(LabelSet(("sound", "doubtful", "broken"), "nominal"))
SETS = DecisionRule.of(LabelSet(("wet", "torn"), "multilabel"))


def one_hot(*labels: int) -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[list(labels)]


def said(probabilities: NDArray[np.float32], targets: NDArray[np.float32], rule: DecisionRule = RULE) -> list[str]:
    return [note.says for note in diagnose_decisions(probabilities, targets, rule, "test images")]


TRUE = (0,) * 10 + (1,) * 6 + (2,) * 4


def test_diagnose_decisions__a_good_model() -> None:
    assert said(one_hot(*TRUE), one_hot(*TRUE)) == []


def test_diagnose_decisions__one_label_for_everything() -> None:
    notes = diagnose_decisions(one_hot(*[1] * 20), one_hot(*TRUE), RULE, "test images")
    assert [note.says for note in notes] == [
        "is right on 6 of 20 test images, and always saying sound would be right on 10: it is no better than the "
        "commonest answer",
        "says doubtful for every one of 20 test images",
    ]
    assert all(note.serious and note.advice for note in notes)


def test_diagnose_decisions__exactly_as_good_as_the_commonest_label() -> None:
    answers = list(TRUE)
    answers[10:] = [0] * 8 + [2, 2]
    assert said(one_hot(*answers), one_hot(*TRUE)) == ["never says doubtful (true of 6 images)"]
    answers[-2:] = [1, 1]
    assert "no better than the commonest answer" in said(one_hot(*answers), one_hot(*TRUE))[0]


def test_diagnose_decisions__a_label_with_few_images_may_be_missed_by_chance() -> None:
    assert said(one_hot(*[0] * 10 + [1] * 10), one_hot(*TRUE)) == []


def test_diagnose_decisions__tied_votes_and_a_single_label_tell_nothing() -> None:
    assert said(one_hot(0, 0), np.array([[0.5, 0.5, 0], [0.4, 0.2, 0.4]], np.float32)) == []
    assert said(one_hot(0, 0), one_hot(0, 0)) == []


def test_diagnose_decisions__sets_of_labels() -> None:
    targets = np.array([[0, 0]] * 6 + [[1, 0]] * 5 + [[1, 1]] * 5, np.float32)
    assert said(targets, targets, SETS) == []
    first, second = said(np.zeros((16, 2), np.float32), targets, SETS)
    assert first.startswith("is right on 6 of 16 test images, and always saying no label would be right on 6")
    assert second == "says no label for every one of 16 test images"
    assert said(targets * np.array([1, 0], np.float32), targets, SETS) == ["never says torn (true of 5 images)"]


GOOD = {"steps": 400.0, "epochs": 4.0, "epoch": 3.0, "val_loss": 0.5, "last_val_loss": 0.5, "previous_val_loss": 0.505}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"steps": 12.0}, ["was trained for 12 steps only"]),
        ({"previous_val_loss": 1.0}, ["was still getting better in the last of its 4 epochs (by 50%)"]),
        ({"epoch": 0.0, "last_val_loss": 0.9}, ["was best after the first epoch of 4, and its validation loss rose"]),
        (
            {"epoch": 1.0, "last_val_loss": 0.9},
            ["was best after epoch 2 of 4, and its validation loss rose from 0.5 to 0.9"],
        ),
        ({"epoch": 2.0, "last_val_loss": 0.51}, []),
        ({"epoch": 2.0, "val_loss": 0.05, "last_val_loss": 0.06}, []),
        ({"epochs": 2.0, "epoch": 1.0, "previous_val_loss": 1.0}, []),
    ],
)
def test_diagnose_fit__says_what_went_wrong(changes: dict[str, float], says: list[str]) -> None:
    notes = diagnose_fit({**GOOD, **changes}, toy_config(epochs=4))
    assert len(notes) == len(says)
    assert all(note.says.startswith(expected) for note, expected in zip(notes, says, strict=True))


def test_diagnose_fit__advice_on_few_steps_has_numbers() -> None:
    (note,) = diagnose_fit({**GOOD, "steps": 12.0}, replace(toy_config(epochs=4), batch_size=64))
    assert note.advice == "a smaller batch_size than 64, or more epochs; 17 epochs would be 50 steps or more"


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ((0.5, 0.4, 0.45), ""),
        ((0.5, 0.6, 0.7), "is best at the strongest weight decay of its head, 0.1: its features tell little"),
        ((0.5, 0.4, 0.3), "was still getting better at the weakest weight decay of its head, 0.001"),
        ((0.5, 0.4, 0.399), ""),
        ((0.5, 0.4), ""),
        ((0.5,), ""),
    ],
)
def test_diagnose_path__best_at_an_end(losses: tuple[float, ...], says: str) -> None:
    path = [Epoch(train_loss=0.1, val_loss=loss, shares={}) for loss in losses]
    notes = diagnose_path(path, (0.1, 0.01, 0.001))
    assert len(notes) == bool(says)
    assert all(note.says.startswith(says) for note in notes)


def test_diagnose_path__a_head_that_knew_the_labels_may_be_best_as_it_was() -> None:
    path = [Epoch(train_loss=0.1, val_loss=loss, shares={}) for loss in (0.2, 0.3)]
    assert diagnose_path(path, (0.1, 0.01))
    assert diagnose_path(path, (0.1, 0.01), kept=True) == []


def test_diagnose_temperature__where_none_fits_best() -> None:
    assert diagnose_temperature(None) == []
    (note,) = diagnose_temperature("is right on all 9 validation images, and no temperature fits best there")
    assert note.line("the teacher").startswith(
        "the teacher is right on all 9 validation images, and no temperature fits best there: left at 1; its "
        "probabilities are not calibrated. Try: "
    )


def test_diagnose_gain__only_where_the_interval_is_below_zero() -> None:
    assert diagnose_gain(-0.02, -0.05, 0.01) == []
    (note,) = diagnose_gain(-0.169, -0.21, -0.12)
    assert note.says == "lost 16.9 points by distillation (12.0 to 21.0)"
    assert note.serious


def test_say__the_serious_ones_first(capsys: pytest.CaptureFixture[str]) -> None:
    say("student mini", [Note(says="is small", advice="nothing"), Note(says="is wrong", advice="this", serious=True)])
    assert capsys.readouterr().err == "student mini is wrong. Try: this\nstudent mini is small. Try: nothing\n"


def test_read_notes__what_was_stored(tmp_path: Path) -> None:
    notes = [Note(says="is wrong", advice="this", serious=True)]
    (tmp_path / "metrics.json").write_text(json.dumps({"diagnosis": to_json(notes)}))
    assert read_notes(tmp_path / "metrics.json") == notes
