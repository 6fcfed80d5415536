"""The live teacher by itself: the same answers as the cache's, beside the student and not in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.config import ViewsConfig
from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader
from data.manifest import Manifest
from distill.teacher import LiveTeacher
from models import checkpoint
from models.facts import CheckpointFacts, Mode
from run.context import RunContext
from run.folder import RunFolder
from run.ranks import Rank
from tests.support import FOUR, context, copied, tiny, uint8_batch
from train.teacher import load_teacher

Prepared = tuple[RunFolder, Manifest]
VIEWS = ViewsConfig(count=3)


def echo(images: torch.Tensor) -> NDArray[np.float32]:
    """In place of a teacher: the mean of each channel."""
    return images.float().mean((2, 3)).numpy()


def batch() -> dict[str, Any]:
    return {
        "image": uint8_batch(6, 8),
        "teacher_image": uint8_batch(6, 12, seed=1),
        "target": torch.eye(3)[[0, 1, 2, 0, 1, 2]],
        "labeled": torch.ones(6),
        "image_id": list("abcdef"),
    }


def answered(mixup: float = 0.0, seed: int = 0, epoch: int = 0, number: int = 0) -> dict[str, Any]:
    given = batch()
    LiveTeacher(echo, mixup, seed).answer(given, epoch, number)
    return given


def with_teacher(run: RunFolder, mode: Mode) -> RunContext:
    checkpoint.save(tiny("test_vit", FOUR, 48), run.teacher / "model", CheckpointFacts(labels=FOUR, mode=mode))
    return context(run)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_live_logits__are_the_caches_for_the_same_view(elpv_run: Prepared, tmp_path: Path, mode: Mode) -> None:
    run = with_teacher(copied(elpv_run[0], tmp_path / "run"), mode)
    part = Examples.of_originals(elpv_run[1].usable("val"), VIEWS)
    teacher = load_teacher(run, FOUR)
    known = teacher.compute_logits(part, 3)
    dataset = ViewDataset(part, tiny(size=32).spec.render, teacher_render=teacher.classifier.spec.render)
    for view in range(3):
        images = torch.stack([dataset[row, view]["teacher_image"] for row in range(len(part))])
        assert images.shape[-1] == 48, "at the teacher's own size"
        np.testing.assert_allclose(teacher.live_logits(images), known[:, view], atol=1e-2, rtol=1e-2)
    assert np.abs(known[:, 1] - known[:, 2]).max() > 0.1, "views differ by more than that"


def test_answer__logits_in_place_of_renders() -> None:
    given, result = batch(), answered()
    assert result.keys() - given.keys() == {"teacher"}
    assert "teacher_image" not in result
    assert np.array_equal(result["teacher"].numpy(), echo(given["teacher_image"]))
    assert torch.equal(result["image"], given["image"])
    assert not result["teacher"].is_inference(), "a loss can be taken of it"


def test_answer__what_the_cache_has_answered_is_left_alone() -> None:
    given = {**batch(), "teacher": torch.zeros(6, 3)}
    del given["teacher_image"]
    before = dict(given)
    LiveTeacher(echo, 0.5, 0).answer(given, 0, 0)
    assert given.keys() == before.keys()
    assert all(given[key] is before[key] for key in given)


def test_answer__the_teacher_sees_the_blend_that_the_student_sees() -> None:
    given, result = batch(), answered(mixup=0.5)
    means = echo(given["image"]), echo(given["teacher_image"])
    blends = echo(result["image"]), result["teacher"].numpy()
    system = np.stack([means[0], means[1]])  # of either render, what is left of each image
    share, partner = blend_of(system[0], blends[0])
    assert 0.01 < share < 0.99
    np.testing.assert_allclose(blends[1], share * system[1] + (1 - share) * system[1][partner], atol=1e-2)
    np.testing.assert_allclose(
        result["target"].numpy(),
        share * np.eye(3)[[0, 1, 2] * 2] + (1 - share) * np.eye(3)[[0, 1, 2] * 2][partner],
        atol=1e-3,
    )


def blend_of(means: NDArray[np.float32], blends: NDArray[np.float32]) -> tuple[float, NDArray[np.intp]]:
    """The one share, and each example's partner, that make ``blends`` out of ``means``, both [B, 3]."""
    best: tuple[float, float, NDArray[np.intp]] = (np.inf, 0.0, np.arange(0))
    for share in np.linspace(0, 1, 2001):
        made = share * means[:, None] + (1 - share) * means[None]
        errors = np.abs(made - blends[:, None]).max(2)
        worst = float(errors.min(1).max())
        if worst < best[0]:
            best = worst, float(share), errors.argmin(1)
    return best[1], best[2]


def test_answer__blends_are_named_by_seed_epoch_batch_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = answered(mixup=0.5)["image"]
    assert torch.equal(answered(mixup=0.5)["image"], first)
    torch.manual_seed(99)
    assert torch.equal(answered(mixup=0.5)["image"], first), "no other random numbers are touched"
    for other in ({"seed": 1}, {"epoch": 1}, {"number": 1}):
        assert not torch.equal(answered(mixup=0.5, **other)["image"], first)
    monkeypatch.setattr("distill.teacher.this_rank", lambda: Rank(1, 2))
    assert not torch.equal(answered(mixup=0.5)["image"], first)


def test_answer__workers_change_nothing(elpv_run: Prepared) -> None:
    part = Examples.of_originals(elpv_run[1].usable("train"), VIEWS)
    dataset = ViewDataset(part, tiny(size=32).spec.render, teacher_render=tiny(size=48).spec.render)
    found: list[list[dict[str, Any]]] = []
    for workers in (0, 2):
        sampler = EpochSampler(len(part), 3, seed=0, fresh_from=1)
        sampler.set_epoch(2)
        batches = list(train_loader(dataset, sampler, batch_size=8, workers=workers))
        for number, one in enumerate(batches):
            LiveTeacher(echo, 0.5, 0).answer(one, 2, number)
        found.append(batches)
    for alone, helped in zip(*found, strict=True):
        assert alone["image_id"] == helped["image_id"]
        assert all(torch.equal(alone[key], helped[key]) for key in ("image", "teacher", "target", "labeled"))
