"""The head's fit, and its batches of cached features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache.frozen import FrozenModel
from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from run.folder import RunFolder
from run.ranks import Rank
from tests.support import context, tiny
from train import fits
from train.config import TeacherConfig
from train.fits import FeatureDataset, TeacherFits


@pytest.mark.parametrize(("world", "batch"), [(1, 2), (2, 1)])
def test_of_head__few_images_make_small_batches_in_each_process(
    elpv_run: tuple[RunFolder, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int, batch: int
) -> None:
    monkeypatch.setattr("train.config.LEAST_BATCH", 1)
    monkeypatch.setattr(fits, "this_rank", lambda: Rank(0, world))
    rows = elpv_run[1].usable("train", "val")[:40]
    examples = Examples.of_originals(rows, ViewsConfig())
    teacher, run = tiny(labels=rows.labels), context(RunFolder(tmp_path))
    request = TeacherFits(
        context=run, config=TeacherConfig(), teacher=teacher, learned=examples, held_out=examples, costs=None
    ).of_head(FrozenModel(teacher, "features", run), 1, tmp_path)
    assert request.learned.batch_size == request.module.config.batch_size == batch


def test_feature_dataset__every_batch_starts_where_matrix_products_give_the_same_bits(
    elpv_run: tuple[RunFolder, Manifest],
) -> None:
    """From 16 bytes on, as NumPy aligns, the last bits of a product hang on what else the process has allocated."""
    _, rows = elpv_run
    features: Any = np.ones((len(rows), 2, 37), np.float32)
    dataset = FeatureDataset(rows, features)
    batches = [dataset.__getitems__([(row, 0) for row in range(size)])["features"] for size in range(1, 40)]
    assert [batch.data_ptr() % 64 for batch in batches] == [0] * len(batches)
    assert [batch.shape for batch in batches] == [(size, 37) for size in range(1, 40)]
