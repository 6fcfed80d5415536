"""The view cache as a run uses it: how often the teacher is run, made ahead, checked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.config import ViewsConfig
from data.manifest import Manifest
from distill.cache import build_cache, check_cache
from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.context import RunContext
from run.errors import UserError
from run.folder import RunFolder
from tests.distill.test_distill import STUDENT, TEACHER, VIEWS, distilled
from tests.support import context, copied, files_below
from tests.train.test_train import trained

Prepared = tuple[RunFolder, Manifest]
HEAD = replace(TEACHER, mode="head")
FULL = replace(TEACHER, mode="full")


@pytest.fixture
def run(elpv_run: Prepared, tmp_path: Path) -> RunContext:
    return context(copied(elpv_run[0], tmp_path / "run"))


@pytest.fixture
def manifest(elpv_run: Prepared) -> Manifest:
    return elpv_run[1]


class Images:
    """How many went through a backbone."""

    count = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    images, features = Images(), Classifier.features

    def counting(self: Classifier, batch: torch.Tensor) -> torch.Tensor:
        images.count += len(batch)
        return features(self, batch)

    monkeypatch.setattr(Classifier, "features", counting)
    return images  # type: ignore[return-value]


def passes(folder: Path) -> dict[str, int]:
    return dict(json.loads((folder / "metrics.json").read_text())["teacher_passes"])


def with_unlabeled(manifest: Manifest, count: int) -> Manifest:
    """The manifest with some of its training images stripped of their label."""
    rows = manifest.table.to_pylist()
    train = [row for row in rows if row["split"] == "train"]
    for row in train[:: len(train) // count][:count]:
        row |= {"split": "unlabeled", "target": None}
    return Manifest.of(manifest.labels, rows)


def relabeled(manifest: Manifest) -> Manifest:
    rows = manifest.table.to_pylist()
    learned = [row for row in rows if row["split"] == "train"]
    first, second = learned[0], next(row for row in learned if row["target"] != learned[0]["target"])
    first["target"], second["target"] = second["target"], first["target"]
    return Manifest.of(manifest.labels, rows)


def test_distill__a_head_mode_run_is_one_pass_over_the_views(run: RunContext, manifest: Manifest, seen: Images) -> None:
    manifest = with_unlabeled(manifest, 5)
    manifest.write(run.folder.manifest)
    learned, unlabeled = (len(manifest.usable(split)) for split in ("train", "unlabeled"))
    held_out = len(manifest.usable("val"))
    teacher = trained(run, manifest, HEAD, VIEWS)
    whole = learned * VIEWS.count + held_out
    assert passes(run.folder.teacher) == {"images_x_views": whole, "cached": held_out, "live": 0}
    for name in ("phone", "browser"):
        distilled(run, manifest, replace(STUDENT, name=name), VIEWS)
    asked = (learned + unlabeled) * VIEWS.count + len(manifest.usable("val"))
    extra = unlabeled * VIEWS.count
    assert passes(run.folder.student("phone")) == {"images_x_views": extra, "cached": asked - extra, "live": 0}
    assert passes(run.folder.student("browser")) == {"images_x_views": 0, "cached": asked, "live": 0}
    assert seen.count == (learned + unlabeled) * VIEWS.count + held_out, "every view once, whatever asked for it"

    corrected = relabeled(manifest)
    corrected.write(run.folder.manifest)
    again = trained(run, corrected, HEAD, VIEWS)
    assert again.weights_digest() != teacher.weights_digest()
    assert passes(run.folder.teacher) == {"images_x_views": 0, "cached": whole + held_out, "live": 0}
    distilled(run, corrected, STUDENT, VIEWS)
    assert passes(run.folder.student("phone")) == {"images_x_views": 0, "cached": asked, "live": 0}


def test_distill__a_fully_tuned_teacher_makes_one_pass_for_all_students(run: RunContext, manifest: Manifest) -> None:
    trained(run, manifest, FULL, VIEWS)
    assert passes(run.folder.teacher) == {"images_x_views": len(manifest.usable("val")), "cached": 0, "live": 0}
    for name in ("phone", "browser"):
        distilled(run, manifest, replace(STUDENT, name=name), VIEWS)
    asked = len(manifest.usable("train")) * VIEWS.count + len(manifest.usable("val"))
    assert passes(run.folder.student("phone")) == {"images_x_views": asked, "cached": 0, "live": 0}
    assert passes(run.folder.student("browser")) == {"images_x_views": 0, "cached": asked, "live": 0}


@pytest.mark.parametrize("mode", ["head", "full", "lora", "last_blocks", "probe_then_full"])
def test_build_cache__makes_all_that_a_run_asks_for(run: RunContext, manifest: Manifest, mode: Any) -> None:
    config = replace(TEACHER, mode=mode)
    if mode in ("lora", "last_blocks"):
        config = replace(config, model="test_vit")
    if not config.trains_head:
        with pytest.raises(UserError, match=f"a teacher in mode {mode} has nothing to cache before it is trained"):
            build_cache(run, manifest, config, VIEWS, [STUDENT])
    else:
        assert build_cache(run, manifest, config, VIEWS, [STUDENT]).images_x_views > 0
    trained(run, manifest, config, VIEWS)
    whole_images = len(manifest.usable("val")) if mode != "head" else 0
    assert passes(run.folder.teacher)["images_x_views"] == whole_images
    assert (build_cache(run, manifest, config, VIEWS, [STUDENT]).images_x_views == 0) == (mode == "head")
    before = files_below(run.folder.cache)
    distilled(run, manifest, STUDENT, VIEWS)
    assert passes(run.folder.student("phone"))["images_x_views"] == 0
    assert files_below(run.folder.cache) == before


def test_check_cache__finds_what_the_teacher_does_not_give(
    run: RunContext, manifest: Manifest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="nothing is cached"):
        check_cache(run, manifest, HEAD, VIEWS, 8)
    assert not run.folder.cache.exists()
    trained(run, manifest, HEAD, VIEWS)
    with pytest.raises(UserError, match="nothing is cached"):
        check_cache(run, manifest, HEAD, ViewsConfig(crop_scale=(0.9, 1.0)), 8)
    assert check_cache(run, manifest, HEAD, VIEWS, 8)
    assert check_cache(run, manifest, HEAD, VIEWS, 10_000)
    said = capsys.readouterr().out
    total = len(manifest.usable("train")) * 2 + len(manifest.usable("val"))
    assert f"{total} images × views of the manifest, 8 computed again" in said
    assert f"{total} images × views of the manifest, {total} computed again" in said

    features = Classifier.features
    monkeypatch.setattr(Classifier, "features", lambda self, batch: features(self, batch) * 1.05)
    assert not check_cache(run, manifest, HEAD, VIEWS, 8)
    assert "not what the teacher gives" in capsys.readouterr().out


def test_check_cache__finds_damage(run: RunContext, manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    trained(run, manifest, HEAD, VIEWS)
    path = next(run.folder.cache.rglob("[0-9]*.npy"))
    path.write_bytes(path.read_bytes()[:-2] + b"zz")
    assert not check_cache(run, manifest, HEAD, VIEWS, 8)
    assert path.stem in capsys.readouterr().out


def test_check_cache__of_top_logits(
    run: RunContext, manifest: Manifest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.key.keeps_all", lambda *_, **__: False)
    monkeypatch.setattr("cache.top_labels.K", 2)
    record = np.dtype([("label", "<i4", (2,)), ("logit", "<f2", (2,)), ("others", "<f4")])
    monkeypatch.setattr("cache.top_labels.RECORD", record)
    teacher = trained(run, manifest, FULL, VIEWS)
    distilled(run, manifest, STUDENT, VIEWS)
    assert check_cache(run, manifest, FULL, VIEWS, 50)
    assert "logits-" in capsys.readouterr().out
    teacher.head.bias.data.add_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    checkpoint.save(teacher, run.folder.teacher / "model", CheckpointFacts.read(run.folder.teacher / "model"))
    with pytest.raises(UserError, match="nothing is cached"):
        check_cache(run, manifest, FULL, VIEWS, 50)
