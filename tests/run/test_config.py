import os
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from data.config import DataConfig, LabelsConfig, SplitsConfig, ViewsConfig
from distill.config import StudentConfig
from fitting.config import FitConfig
from run.config import TrainerConfig, require
from train.config import TeacherConfig

FIT: dict[str, Any] = {"epochs": 1, "batch_size": 1, "lr": 0.1}
STUDENT: dict[str, Any] = {"name": "phone"}
TEACHER: dict[str, Any] = {"model": "test_vit"}


@pytest.mark.parametrize(
    ("section", "good", "bad", "key"),
    [
        (TrainerConfig, {}, {"num_workers": -1}, "trainer.num_workers"),
        (TrainerConfig, {}, {"frozen_batch_size": 0}, "trainer.frozen_batch_size"),
        (TrainerConfig, {}, {"num_nodes": 0}, "trainer.num_nodes"),
        (FitConfig, FIT, {"epochs": 0}, "epochs"),
        (FitConfig, FIT, {"batch_size": 0}, "batch_size"),
        (FitConfig, FIT, {"lr": 0.0}, "lr"),
        (FitConfig, FIT, {"lr": float("nan")}, "lr"),
        (FitConfig, FIT, {"warmup": 1.0}, "warmup"),
        (FitConfig, FIT, {"warmup": -0.1}, "warmup"),
        (FitConfig, FIT, {"weight_decay": -1.0}, "weight_decay"),
        (FitConfig, FIT, {"ema_decay": 1.0}, "ema_decay"),
        (FitConfig, FIT, {"ema_decay": 0.0}, "ema_decay"),
        (FitConfig, FIT, {"patience": 0}, "patience"),
        (FitConfig, FIT, {"clip_norm": 0.0}, "clip_norm"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a"]}, "labels.names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", "b", "a"]}, "labels.names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", " b"]}, "labels.names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", ""]}, "labels.names"),
        (SplitsConfig, {}, {"val": 0.0}, "data.splits.val"),
        (SplitsConfig, {}, {"calibration": 1.0}, "data.splits.calibration"),
        (SplitsConfig, {}, {"test": -0.1}, "data.splits.test"),
        (SplitsConfig, {}, {"val": 0.5, "test": 0.4}, "data.splits"),
        (ViewsConfig, {}, {"count": 0}, "views.count"),
        (ViewsConfig, {}, {"crop_scale": (0.0, 1.0)}, "views.crop_scale"),
        (ViewsConfig, {}, {"crop_scale": (0.9, 0.5)}, "views.crop_scale"),
        (ViewsConfig, {}, {"crop_scale": (0.5, 1.1)}, "views.crop_scale"),
        (ViewsConfig, {}, {"crop_ratio": (2.0, 1.0)}, "views.crop_ratio"),
        (ViewsConfig, {}, {"brightness": 1.0}, "views.brightness"),
        (ViewsConfig, {}, {"contrast": -0.1}, "views.contrast"),
        (ViewsConfig, {}, {"saturation": 2.0}, "views.saturation"),
        (TeacherConfig, TEACHER, {"layer_decay": 0.0}, "teacher.layer_decay"),
        (TeacherConfig, TEACHER, {"drop_path": 1.0}, "teacher.drop_path"),
        (TeacherConfig, TEACHER, {"image_size": 0}, "teacher.image_size"),
        (StudentConfig, STUDENT, {"name": "../up"}, "students[].name"),
        (StudentConfig, STUDENT, {"name": "teacher"}, "students[].name"),
        (StudentConfig, STUDENT, {"name": "phone-onnx"}, "students[].name"),
        (StudentConfig, STUDENT, {"name": ""}, "students[].name"),
        (StudentConfig, STUDENT, {"temperature": 0.0}, "students[].temperature"),
        (StudentConfig, STUDENT, {"label_weight": -1.0}, "students[].label_weight"),
        (StudentConfig, STUDENT, {"image_size": 0}, "students[].image_size"),
        (StudentConfig, STUDENT, {"live": -0.1}, "students[].live"),
        (StudentConfig, STUDENT, {"live": 1.1}, "students[].live"),
        (StudentConfig, {**STUDENT, "loss": "labels"}, {"live": 0.5}, "students[].live"),
        (StudentConfig, {**STUDENT, "live": 0.5}, {"mixup": -0.1}, "students[].mixup"),
        (StudentConfig, {**STUDENT, "live": 0.5}, {"mixup": float("inf")}, "students[].mixup"),
        (StudentConfig, STUDENT, {"mixup": 0.2}, "students[].mixup"),
    ],
)
def test_sections__bad_values_name_their_key(
    section: type, good: dict[str, Any], bad: dict[str, Any], key: str
) -> None:
    section(**good)
    with pytest.raises(ValueError) as error:
        section(**{**good, **bad})
    assert str(error.value).startswith(f"{key} is ")
    assert "it must be" in str(error.value)


@pytest.mark.parametrize("section", [TrainerConfig(), SplitsConfig(), ViewsConfig(), DataConfig(format="elpv")])
def test_sections__are_frozen(section: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        section.name = "x"


def test_require__message() -> None:
    require(True, "a.b", 1, "2")
    with pytest.raises(ValueError, match=r"^a\.b is 'x'; it must be 2 or more$"):
        require(False, "a.b", "x", "2 or more")


@pytest.mark.parametrize(
    ("cores", "devices", "started", "workers"),
    [
        (1, "auto", None, 2),
        (2, 1, None, 2),
        (8, 1, None, 7),
        (8, -1, None, 7),
        (64, 1, None, 16),
        (16, 4, None, 3),
        (16, [0, 5], None, 7),
        (32, "auto", "4", 7),
    ],
)
def test_workers__auto_is_a_share_of_the_cores(
    cores: int, devices: Any, started: str | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if started is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
    assert TrainerConfig(devices=devices).workers == workers
    assert TrainerConfig(devices=devices, num_workers=0).workers == 0
    assert TrainerConfig(devices=devices, num_workers=5).workers == 5
