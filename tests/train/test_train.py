import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl

from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from models import checkpoint
from models.building import build
from models.classifier import Classifier
from models.decision import DecisionRule
from models.facts import CheckpointFacts
from models.forward import whole_image_logits
from run.context import RunContext
from run.folder import RunFolder
from tests.support import FOUR, TRAINER, context, copied, files_below, interrupted
from train.config import HeadConfig, ImageFitConfig, LastBlocksConfig, LoraConfig, TeacherConfig
from train.train import _relevant, train

Prepared = tuple[RunFolder, Manifest]
VIEWS = ViewsConfig(count=2)
TEACHER = TeacherConfig(
    model="test_efficientnet",
    pretrained=False,
    image_size=32,
    mode="full",
    drop_path=0.0,
    full=ImageFitConfig(epochs=3, batch_size=8, lr=0.002, ema_decay=0.5),
)


@pytest.fixture
def run(elpv_run: Prepared, tmp_path: Path) -> RunContext:
    return context(copied(elpv_run[0], tmp_path / "run"))


@pytest.fixture
def manifest(elpv_run: Prepared) -> Manifest:
    return elpv_run[1]


def untrained(config: TeacherConfig) -> Classifier:
    pl.seed_everything(0, verbose=False)
    return build(config.model, FOUR, key="teacher", pretrained=False, image_size=config.image_size)


def trained(run: RunContext, manifest: Manifest, config: TeacherConfig, views: ViewsConfig) -> Classifier:
    train(run, manifest, config, views)
    return checkpoint.load(run.folder.teacher / "model", manifest.labels)


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def config_for(mode: Any) -> TeacherConfig:
    """Some modes take a model with blocks and linear layers."""
    if mode not in ("lora", "last_blocks"):
        return replace(TEACHER, mode=mode)
    fit = {"epochs": 3, "batch_size": 8, "lr": 0.002, "ema_decay": 0.5}
    lora = LoraConfig(rank=2, **fit)  # type: ignore[arg-type]
    last = LastBlocksConfig(blocks=1, **fit)  # type: ignore[arg-type]
    return replace(TEACHER, model="eva02_tiny_patch14_224", image_size=28, mode=mode, lora=lora, last_blocks=last)


@pytest.mark.parametrize("mode", ["head", "lora", "last_blocks", "full", "probe_then_full"])
def test_train__every_mode(run: RunContext, manifest: Manifest, mode: Any) -> None:
    config = config_for(mode)
    teacher = trained(run, manifest, config, VIEWS)
    start = untrained(config)
    assert (teacher.weights_digest(backbone_only=True) == start.weights_digest(backbone_only=True)) == (mode == "head")
    assert teacher.weights_digest() != start.weights_digest()

    folder = run.folder.teacher
    assert checkpoint.load(folder / "model", FOUR).weights_digest() == teacher.weights_digest()
    metrics = json.loads((folder / "metrics.json").read_text())
    stages = ["head", "full"] if mode == "probe_then_full" else [mode]
    assert list(metrics) == [*stages, "calibration", "diagnosis", "teacher_passes"]
    assert all(metrics[stage]["epochs"] == 3 for stage in stages if stage != "head")
    if "head" in stages:
        head = metrics["head"]
        assert {name: head[name] for name in head["path"][0]} in head["path"]
        assert head["val_loss"] == min(point["val_loss"] for point in head["path"])
    found = {name: metrics["calibration"][name] for name in ("temperature", "uncalibrated")}
    expected = CheckpointFacts(labels=FOUR, base_model=config.model, mode=mode, **found)
    assert CheckpointFacts.read(folder / "model") == expected
    assert not list(folder.rglob("*.ckpt")), "checkpoints of a finished fit are removed"

    part = manifest.usable("val")
    logits = whole_image_logits(teacher, Examples.of_originals(part, VIEWS), TRAINER, "32-true", "test")
    calibration = metrics["calibration"]
    assert calibration["n"] == len(part)
    assert DecisionRule.of(FOUR).cross_entropy(logits, part.targets()) == pytest.approx(
        calibration["nll_after"], rel=5e-3
    )
    assert calibration["nll_after"] <= calibration["nll_before"] + 1e-6


def test_train__second_call_does_nothing_and_a_changed_key_trains_again(run: RunContext, manifest: Manifest) -> None:
    first = trained(run, manifest, TEACHER, VIEWS)
    before = times(run.folder.root)
    again = trained(run, manifest, TEACHER, VIEWS)
    assert again.weights_digest() == first.weights_digest()
    assert not again.model.training
    trained(run, manifest, TEACHER, replace(VIEWS, count=7))  # how many views there are is nothing to a full fit
    assert times(run.folder.root) == before
    changed = replace(VIEWS, crop_scale=(0.9, 1.0))
    assert trained(run, manifest, TEACHER, changed).weights_digest() != first.weights_digest()
    assert trained(replace(run, seed=1), manifest, TEACHER, VIEWS).weights_digest() != first.weights_digest()
    assert trained(run, manifest, TEACHER, VIEWS).weights_digest() == first.weights_digest(), "the same in every run"


def test_relevant__keys_of_other_modes_and_of_memory_train_nothing_again() -> None:
    plain = _relevant(TeacherConfig())
    assert _relevant(TeacherConfig(lora=LoraConfig(epochs=1, batch_size=1, lr=1, rank=3))) == plain
    assert "grad_checkpointing" not in str(plain)
    lora = _relevant(TeacherConfig(mode="lora"))
    assert lora != _relevant(TeacherConfig(mode="lora", lora=replace(TeacherConfig().lora, rank=3)))
    memory = replace(TeacherConfig().lora, grad_checkpointing=True)
    assert lora == _relevant(TeacherConfig(mode="lora", lora=memory))
    assert "last_blocks" not in lora
    other_head = replace(TeacherConfig(), head=HeadConfig(patience=5))
    assert _relevant(other_head) != plain
    assert _relevant(replace(other_head, mode="lora")) == lora
    assert {"head", "full"} <= _relevant(TeacherConfig(mode="probe_then_full")).keys()


def test_train__a_tampered_model_is_trained_again(run: RunContext, manifest: Manifest) -> None:
    first = trained(run, manifest, TEACHER, VIEWS)
    path = run.folder.teacher / "model" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert trained(run, manifest, TEACHER, VIEWS).weights_digest() == first.weights_digest()
    assert path.read_bytes() == data


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_train__interrupted_in_every_fit_gives_the_same_teacher(
    run: RunContext, manifest: Manifest, elpv_run: Prepared, tmp_path: Path, ema_decay: float | None
) -> None:
    full = replace(TEACHER.full, lr=0.05, ema_decay=ema_decay)
    config = replace(TEACHER, mode="probe_then_full", drop_path=0.1, full=full)
    whole = trained(run, manifest, config, VIEWS)
    cut = replace(run, folder=copied(elpv_run[0], tmp_path / "cut"))
    trainer = replace(cut.trainer, checkpoint_minutes=0 if ema_decay else None)
    resumed = interrupted(
        lambda: trained(replace(cut, trainer=trainer), manifest, config, VIEWS),
        *[(0, 2), (1, 1), (2, 0)],
    )
    assert resumed.weights_digest() == whole.weights_digest()
    assert files_below(cut.folder.teacher / "model") == files_below(run.folder.teacher / "model")


def test_train__adapters_are_resumed_as_they_were(
    run: RunContext, manifest: Manifest, elpv_run: Prepared, tmp_path: Path
) -> None:
    config = replace(config_for("lora"), drop_path=0.3)
    whole = trained(run, manifest, config, VIEWS)
    cut = replace(run, folder=copied(elpv_run[0], tmp_path / "cut"))
    resumed = interrupted(lambda: trained(cut, manifest, config, VIEWS), (1, 0), (2, 1))
    assert resumed.weights_digest() == whole.weights_digest()


@pytest.mark.parametrize("mode", ["probe_then_full", "lora"])
def test_train__what_it_publishes_while_it_runs_can_be_loaded(run: RunContext, manifest: Manifest, mode: Any) -> None:
    published: list[str] = []

    def publish(name: str, folder: Path, message: str) -> None:
        assert checkpoint.load(folder, FOUR).architecture == config.model
        published.append(f"{name}: {message}")

    config = replace(config_for(mode), lora=LoraConfig(epochs=1, batch_size=8, lr=0.002))
    trained(replace(run, publish=publish), manifest, config, VIEWS)
    assert all(line.startswith(("teacher: teacher: epoch ", "teacher: teacher head: ")) for line in published)
    assert len(published) >= (1 if mode == "lora" else 2), "of the head and of all layers"


def test_train__another_config_does_not_go_on_from_an_interrupted_fit(
    run: RunContext, manifest: Manifest, elpv_run: Prepared, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(replace(run, publish=interrupt), manifest, TEACHER, VIEWS)
    other = replace(TEACHER, layer_decay=0.5)
    fresh = context(copied(elpv_run[0], tmp_path / "fresh"))
    assert (
        trained(run, manifest, other, VIEWS).weights_digest() == trained(fresh, manifest, other, VIEWS).weights_digest()
    )


def test_train__resize_squash_replaces_the_models_own_way(run: RunContext, manifest: Manifest) -> None:
    own = trained(run, manifest, replace(TEACHER, mode="head"), VIEWS)
    squash = trained(run, manifest, replace(TEACHER, mode="head", resize="squash"), VIEWS)
    assert (own.spec.mode, squash.spec.mode) == ("center", "squash")
    assert checkpoint.load(run.folder.teacher / "model", FOUR).spec == squash.spec


def test_train__learns_what_can_be_learned(run: RunContext, manifest: Manifest) -> None:
    """A head on random features fits its training images better than chance."""
    config = replace(TEACHER, mode="head")
    teacher = trained(run, manifest, config, ViewsConfig(count=1))
    part = manifest.usable("train")
    logits = whole_image_logits(teacher, Examples.of_originals(part, VIEWS), TRAINER, "32-true", "test")
    accuracy = np.mean(logits.argmax(1) == part.targets().argmax(1))
    assert accuracy > 0.45
