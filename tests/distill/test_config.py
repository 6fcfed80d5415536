from dataclasses import replace
from pathlib import Path

import pytest

import pocketeva
from distill.config import StudentConfig
from run.errors import UserError
from tests import finished

STUDENT = StudentConfig(name="phone")


@pytest.mark.parametrize(
    ("live", "epochs", "first"),
    [(0.0, 10, 10), (1.0, 10, 0), (0.25, 8, 6), (0.25, 10, 7), (0.1, 30, 27), (0.1, 2, 1)],
)
def test_live_from__is_the_first_live_epoch(live: float, epochs: int, first: int) -> None:
    assert replace(STUDENT, live=live, fit=replace(STUDENT.fit, epochs=epochs)).live_from == first


def test_as_baseline__asks_no_teacher() -> None:
    baseline = replace(STUDENT, live=0.5, mixup=0.2, baseline=True).as_baseline()
    assert baseline == replace(STUDENT, name="phone-baseline", loss="labels")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--students[0].mixup=0.2"], "students[0].mixup is 0.2; it must be 0 where live is 0"),
        (
            ["--students[0].live=0.5", "--students[0].loss=labels"],
            "students[0].live is 0.5; it must be 0 where loss is labels",
        ),
        (
            ["--trainer.micro_batch=64", "--students[0].fit.batch_size=32"],
            "trainer.micro_batch is 64; it must be at most students[0].fit.batch_size (32), or auto",
        ),
        (
            ["--trainer.micro_batch=8", "--teacher.mode=lora", "--teacher.lora.batch_size=4"],
            "trainer.micro_batch is 8; it must be at most teacher.lora.batch_size (4), or auto",
        ),
        (
            ["--trainer.micro_batch=8", "--students[0].fit.batch_size=32", "--students[0].loss=dist"],
            "trainer.micro_batch is 8; it must be students[0].fit.batch_size (32), or auto: dist compares the images",
        ),
        (
            ["--teacher.lora.rank=0", "--teacher.lora.lr=0"],
            "teacher.lora.lr is 0; it must be above 0\n  teacher.lora.rank is 0; it must be 1 or more",
        ),
    ],
)
def test_students__contradictions_name_their_key(tmp_path: Path, overrides: list[str], message: str) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    with pytest.raises(UserError) as error:
        pocketeva.read_config(path, overrides)
    assert message in str(error.value)


def test_students__live_and_mixup_are_read(tmp_path: Path) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    (student,) = pocketeva.read_config(path, ["--students[0].live=0.25", "--students[0].mixup=0.2"]).students
    assert (student.live, student.mixup) == (0.25, 0.2)
