"""A head solved by ``train``: what it leaves, and what it does without."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from data.config import ViewsConfig
from data.manifest import Manifest
from fitting.history import read_histories
from models import checkpoint
from models.facts import CheckpointFacts
from run.config import TrackingConfig
from run.folder import RunFolder
from tests.support import FOUR, REPOSITORY, context, copied
from train.config import TeacherConfig
from train.train import train

TEACHER = TeacherConfig(model="test_efficientnet", pretrained=False, image_size=32)
Prepared = tuple[RunFolder, Manifest]

HEAD_ALONE = """
import sys
from pathlib import Path
from data.config import ViewsConfig
from data.labels import LabelSet
from data.manifest import Manifest
from run.config import TrackingConfig, TrainerConfig
from run.context import RunContext
from run.folder import RunFolder
from train.config import TeacherConfig
from train.train import train
folder = RunFolder(Path(sys.argv[1]))
labels = LabelSet(("sound", "doubtful", "likely", "broken"), "ordinal")
trainer = TrainerConfig(accelerator="cpu", devices=1, precision="32-true", num_workers=0)
run = RunContext(folder=folder, trainer=trainer, tracking=TrackingConfig(), seed=0, config={})
teacher = TeacherConfig(model="test_efficientnet", pretrained=False, image_size=32)
train(run, Manifest.read(folder.manifest, labels), teacher, ViewsConfig(count=2))
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_train__a_head_takes_no_lightning_and_is_the_same_in_every_process(elpv_run: Prepared, tmp_path: Path) -> None:
    here, there = (copied(elpv_run[0], tmp_path / name) for name in ("here", "there"))
    train(context(here), elpv_run[1], TEACHER, ViewsConfig(count=2))
    said = subprocess.run(
        [sys.executable, "-c", HEAD_ALONE, str(there.root)], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    loaded = set(said.split())
    assert {"torch", "timm"} <= loaded
    assert not loaded & {"pytorch_lightning", "lightning_fabric", "torchmetrics", "sklearn", "cleanlab", "datasets"}
    weights = [(run.teacher / "model" / "model.safetensors").read_bytes() for run in (here, there)]
    assert weights[0] == weights[1]
    (path,) = read_histories(there.teacher).values()
    assert [point.weight_decay for point in path] == list(TEACHER.head.weight_decays[: len(path)])
    metrics = json.loads((there.teacher / "metrics.json").read_text())
    assert [point["val_loss"] for point in metrics["head"]["path"]] == [point.val_loss for point in path]


def test_train__a_head_is_tracked_and_published(elpv_run: Prepared, tmp_path: Path) -> None:
    seen: list[str] = []

    def publish(name: str, folder: Path, message: str) -> None:
        checkpoint.load(folder, FOUR)
        seen.append(f"{name}, {message}, {CheckpointFacts.read(folder).val_loss:.4f}")

    run = context(copied(elpv_run[0], tmp_path / "run"), tracking=TrackingConfig(tensorboard=True), publish=publish)
    train(run, elpv_run[1], TEACHER, ViewsConfig(count=1))
    path = read_histories(run.folder.teacher)["head"]
    (table,) = (run.folder.teacher / "fit" / "head").glob("log/*/metrics.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [point.val_loss for point in path]
    assert [float(row["weight_decay"]) for row in rows] == [point.weight_decay for point in path]
    assert list((run.folder.teacher / "fit" / "head").glob("tensorboard/*/events*"))
    lowest = min(f"{point.val_loss:.4f}" for point in path)
    assert seen == [f"teacher, teacher head: validation loss {lowest}, {lowest}"]


def test_train__other_weight_decays_solve_the_head_again_without_a_pass(elpv_run: Prepared, tmp_path: Path) -> None:
    run = context(copied(elpv_run[0], tmp_path / "run"))
    train(run, elpv_run[1], TEACHER, ViewsConfig(count=1))
    train(run, elpv_run[1], replace(TEACHER, head=replace(TEACHER.head, weight_decays=(0.5,))), ViewsConfig(count=1))
    metrics = json.loads((run.folder.teacher / "metrics.json").read_text())
    assert [point["weight_decay"] for point in metrics["head"]["path"]] == [0.5]
    assert metrics["teacher_passes"]["images_x_views"] == 0
