from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import StudentConfig
from distill.require import require_room_to_train, require_trainable, require_weights
from fitting.config import FitConfig
from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.config import TrainerConfig
from run.errors import UserError
from tests.support import TWO, tiny
from train.config import ImageFitConfig, LastBlocksConfig, TeacherConfig

BLOCKS = LastBlocksConfig(epochs=1, batch_size=2, lr=1e-3, blocks=9)
FULL = ImageFitConfig(epochs=1, batch_size=1, lr=1e-3)
ONE = FitConfig(epochs=1, batch_size=1, lr=1e-3)
TEACHER = TeacherConfig(model="resnet26", pretrained=False)


def student(model: str, fit: FitConfig = ONE, **changes: Any) -> StudentConfig:
    return StudentConfig(name="mini", model=model, image_size=64, fit=fit, **changes)


def test_require_trainable__students_that_are_trained_one_image_at_a_time() -> None:
    names = ["repvit_m0_9", "mobilenetv3_small_100", "mobilenetv4_conv_small.e2400_r224_in1k", "nobody/knows"]
    with pytest.raises(UserError) as error:
        require_trainable(TEACHER, [student(name) for name in names], 2)
    reason = "which normalizes over the batch after pooling"
    assert str(error.value).splitlines() == [
        f"students[0].fit.batch_size is 1; it must be 2 or more for repvit_m0_9, {reason}",
        f"students[2].fit.batch_size is 1; it must be 2 or more for {names[2]}, {reason}",
    ]
    two = FitConfig(epochs=1, batch_size=2, lr=1e-3)
    require_trainable(TEACHER, [student(name, two) for name in names], 2)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (
            "mobilenetv4_conv_medium",
            {"mode": "lora"},
            "teacher.mode is lora, and .* has no linear layers before its head",
        ),
        ("resnet18", {"mode": "last_blocks"}, "teacher.mode is last_blocks, and resnet18 has no blocks"),
        ("test_vit", {"mode": "last_blocks", "last_blocks": BLOCKS}, "teacher.last_blocks.blocks is 9; test_vit has 6"),
        ("test_vit", {"mode": "last_blocks"}, ""),
        ("eva02_base_patch14_448", {"mode": "lora"}, ""),
        ("mobilenetv4_conv_medium", {"mode": "head"}, ""),
    ],
)
def test_require_trainable__a_mode_that_the_teacher_cannot_take(model: str, changes: Any, message: str) -> None:
    teacher = TeacherConfig(model=model, pretrained=False, **changes)
    if not message:
        require_trainable(teacher, [], 2)
        return
    with pytest.raises(UserError, match=message):
        require_trainable(teacher, [], 2)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_require_trainable__a_teacher(mode: Any) -> None:
    teacher = TeacherConfig(model="mobilenetv4_conv_medium", pretrained=False, mode=mode, full=FULL)
    if mode == "head":
        require_trainable(teacher, [student("mobilenetv3_small_050")], 2)
        return
    with pytest.raises(UserError, match=r"^teacher\.full\.batch_size is 1; it must be 2 or more for mobilenetv4_conv"):
        require_trainable(teacher, [student("mobilenetv3_small_050")], 2)


@pytest.mark.parametrize("mode", ["full", "lora", "last_blocks"])
def test_require_room_to_train__of_all_models_before_any_work(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int, str, bool]] = []

    def look(classifier: Classifier, device: torch.device, precision: str, may_checkpoint: bool) -> bool:
        weights = sum(weight.numel() for weight in classifier.model.parameters() if weight.requires_grad)
        tried.append((classifier.architecture, weights, str(device), may_checkpoint))
        return classifier.architecture == "test_vit"

    monkeypatch.setattr("distill.require.device_of", lambda _: torch.device("cuda"))
    monkeypatch.setattr("models.room.holds_one_image", look)
    teacher = TeacherConfig(model="test_vit", image_size=32, mode=mode, last_blocks=replace(BLOCKS, blocks=2))
    students = [student("test_efficientnet"), student("test_resnet")]
    trainer = TrainerConfig(precision="32-true")
    with pytest.raises(UserError, match=r"^students\[1\]\.model: training test_resnet on a single image of 64 pixels"):
        require_room_to_train(teacher, students, [False, True, False], TWO, trainer)
    assert [(name, device, checkpoint) for name, _, device, checkpoint in tried] == [
        ("test_vit", "cuda", True),
        ("test_resnet", "cuda", False),
    ]
    whole = sum(weight.numel() for weight in tiny("test_vit").model.parameters())
    assert tried[0][1] == whole if mode == "full" else 0 < tried[0][1] < whole
    tried.clear()
    require_room_to_train(replace(teacher, mode="head"), students, [False, True, True], TWO, trainer)
    assert not tried


def test_require_trainable__a_student_larger_than_a_teacher_in_a_folder(tmp_path: Path) -> None:
    checkpoint.save(tiny("test_resnet"), tmp_path, CheckpointFacts(labels=TWO))
    teacher = TeacherConfig(model=str(tmp_path))
    require_trainable(teacher, [student("test_efficientnet")], 2)
    with pytest.raises(
        UserError, match=r"^students\[0\]\.model: student mini \(mobilenetv3_small_100\) has 1\.5 M .*only"
    ):
        require_trainable(teacher, [student("mobilenetv3_small_100")], 2)


def test_require_weights__of_all_that_is_not_trained_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checkpoint.save(tiny("test_resnet"), tmp_path, CheckpointFacts(labels=TWO))
    teacher = TeacherConfig(model=str(tmp_path))
    lacking = student("nobody/knows", pretrained=True)
    require_weights(teacher, [lacking, student("test_efficientnet", pretrained=False)], [False, True, False])
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError) as error:
        require_weights(teacher, [lacking], [False, False])
    first, *_ = lines = str(error.value).splitlines()
    assert first.startswith(f"teacher.model: {tmp_path / 'model.safetensors'} does not exist")
    assert any(line.startswith("students[0].model: nobody/knows is no folder here") for line in lines)
