from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from data.config import DataConfig, LabelsConfig, SplitsConfig, ViewsConfig
from distill.config import StudentConfig
from fitting.config import FitConfig
from run.config import ConfigError, TrainerConfig, UnknownValueError, checking, shown
from train.config import HeadConfig, TeacherConfig

FIT: dict[str, Any] = {"epochs": 1, "batch_size": 1, "lr": 0.1}
STUDENT: dict[str, Any] = {"name": "phone"}
TEACHER: dict[str, Any] = {"model": "test_vit"}


@pytest.mark.parametrize(
    ("section", "good", "bad", "key"),
    [
        (TrainerConfig, {}, {"num_workers": -1}, "num_workers"),
        (TrainerConfig, {}, {"frozen_batch_size": 0}, "frozen_batch_size"),
        (TrainerConfig, {}, {"num_nodes": 0}, "num_nodes"),
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
        (HeadConfig, {}, {"weight_decays": ()}, "weight_decays"),
        (HeadConfig, {}, {"weight_decays": (0.1, 0.2)}, "weight_decays"),
        (HeadConfig, {}, {"weight_decays": (0.1, 0.0)}, "weight_decays"),
        (HeadConfig, {}, {"max_steps": 0}, "max_steps"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a"]}, "names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", "b", "a"]}, "names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", " b"]}, "names"),
        (LabelsConfig, {"names": ["a", "b"]}, {"names": ["a", ""]}, "names"),
        (SplitsConfig, {}, {"val": 0.0}, "val"),
        (SplitsConfig, {}, {"calibration": 1.0}, "calibration"),
        (SplitsConfig, {}, {"test": -0.1}, "test"),
        (SplitsConfig, {}, {"val": 0.5, "test": 0.4}, "test"),
        (ViewsConfig, {}, {"count": 0}, "count"),
        (ViewsConfig, {}, {"crop_scale": (0.0, 1.0)}, "crop_scale"),
        (ViewsConfig, {}, {"crop_scale": (0.9, 0.5)}, "crop_scale"),
        (ViewsConfig, {}, {"crop_scale": (0.5, 1.1)}, "crop_scale"),
        (ViewsConfig, {}, {"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        (ViewsConfig, {}, {"brightness": 1.0}, "brightness"),
        (ViewsConfig, {}, {"contrast": -0.1}, "contrast"),
        (ViewsConfig, {}, {"saturation": 2.0}, "saturation"),
        (TeacherConfig, TEACHER, {"layer_decay": 0.0}, "layer_decay"),
        (TeacherConfig, TEACHER, {"drop_path": 1.0}, "drop_path"),
        (TeacherConfig, TEACHER, {"image_size": 0}, "image_size"),
        (StudentConfig, STUDENT, {"name": "../up"}, "name"),
        (StudentConfig, STUDENT, {"name": "teacher"}, "name"),
        (StudentConfig, STUDENT, {"name": "phone-onnx"}, "name"),
        (StudentConfig, STUDENT, {"name": "a b"}, "name"),
        (StudentConfig, STUDENT, {"temperature": 0.0}, "temperature"),
        (StudentConfig, STUDENT, {"label_weight": -1.0}, "label_weight"),
        (StudentConfig, STUDENT, {"image_size": 0}, "image_size"),
        (StudentConfig, STUDENT, {"live": -0.1}, "live"),
        (StudentConfig, STUDENT, {"live": 1.1}, "live"),
        (StudentConfig, {**STUDENT, "loss": "labels"}, {"live": 0.5}, "live"),
        (StudentConfig, {**STUDENT, "live": 0.5}, {"mixup": -0.1}, "mixup"),
        (StudentConfig, {**STUDENT, "live": 0.5}, {"mixup": float("inf")}, "mixup"),
        (StudentConfig, STUDENT, {"mixup": 0.2}, "mixup"),
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


def test_checking__collects_every_mistake() -> None:
    with pytest.raises(ConfigError) as error:
        FitConfig(epochs=0, batch_size=8, lr=-1.0, warmup=float("nan"))
    assert [mistake.key for mistake in error.value.mistakes] == ["epochs", "lr", "warmup"]
    assert str(error.value).splitlines() == [
        "epochs is 0; it must be 1 or more",
        "lr is -1.0; it must be above 0",
        "warmup is NaN; it must be at least 0 and below 1",
    ]


def test_checking__leaves_out_what_asks_for_an_unknown_value() -> None:
    def ask() -> bool:
        raise UnknownValueError("lr")

    def check() -> None:
        with checking(FitConfig(**FIT)) as require:
            require("lr", ask, "known")
            require("epochs", lambda: False, "more")
            ask()

    with pytest.raises(ConfigError, match=r"^epochs is 1; it must be more$"):
        check()


def test_checking__keys_reach_into_lists() -> None:
    @dataclass
    class Section:
        students: list[StudentConfig]

    section = Section([StudentConfig(**STUDENT)])
    with (
        pytest.raises(ConfigError, match=r"^students\[0\]\.loss is kl; it must be another$"),
        checking(section) as require,
    ):
        require("students[0].loss", lambda: False, "another")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", '""'),
        (" ", '" "'),
        ("a\n b", "a b"),
        (None, "null"),
        (True, "true"),
        ([0.9, "ä"], '[0.9, "ä"]'),
    ],
)
def test_shown__is_yaml_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_shown__cuts_what_is_long() -> None:
    assert len(shown("x" * 1000)) == 200


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
    monkeypatch.setattr("run.config.usable_cores", lambda: cores)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if started is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
    assert TrainerConfig(devices=devices).workers == workers
    assert TrainerConfig(devices=devices, num_workers=0).workers == 0
    assert TrainerConfig(devices=devices, num_workers=5).workers == 5


@pytest.mark.parametrize(
    ("binding", "tasks", "workers"), [("mask_cpu:", "8", 7), ("none", "8", 2), ("mask_cpu:", "1", 2)]
)
def test_workers__a_task_that_srun_has_bound_has_its_share_already(
    binding: str, tasks: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run.config.usable_cores", lambda: 8)
    monkeypatch.setenv("SLURM_CPU_BIND_TYPE", binding)
    monkeypatch.setenv("SLURM_NTASKS", tasks)
    assert TrainerConfig(devices=8).workers == workers
