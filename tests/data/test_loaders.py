import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import DataLoader, Dataset

from data.config import ViewsConfig
from data.examples import Examples
from data.loaders import (
    EpochSampler,
    Item,
    ViewDataset,
    load,
    to_chw,
    train_loader,
    whole_image_loader,
    whole_images,
    worker_settings,
)
from data.manifest import Manifest
from data.views import View, ViewSpec
from run.errors import UserError
from run.folder import RunFolder
from run.ranks import Rank
from tests.support import TWO, elpv_rows, rows_of

SPEC = ViewSpec.of(ViewsConfig(crop_scale=(0.3, 0.6)))
Prepared = tuple[RunFolder, Manifest]


def render(image: Image.Image, view: View) -> NDArray[np.uint8]:
    return np.asarray(view.finish(image.crop(view.box).resize((16, 16))))


def dataset(rows: int = 10, teacher: NDArray[np.floating] | None = None) -> ViewDataset:
    manifest = Manifest.of(TWO, rows_of([path for path, _ in elpv_rows()[:rows]], TWO))
    return ViewDataset(Examples(manifest, SPEC), render, teacher)


def items(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_epoch_sampler__every_row_once_in_an_order_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, 4, seed=1)
    orders = [[row for row, _ in items(sampler, epoch)] for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [row for row, _ in items(EpochSampler(50, 4, seed=1), 2)] == orders[2]
    assert [row for row, _ in items(EpochSampler(50, 4, seed=2), 2)] != orders[2]
    assert len(sampler) == 50


def test_epoch_sampler__goes_through_all_views_of_each_row() -> None:
    sampler = EpochSampler(10, 4, seed=0)
    seen = [dict(items(sampler, epoch)) for epoch in range(8)]
    for row in range(10):
        assert sorted(views[row] for views in seen[:4]) == [0, 1, 2, 3]
        assert [views[row] for views in seen[4:]] == [views[row] for views in seen[:4]]
    assert len(set(seen[0].values())) == 4, "an epoch mixes views"


def test_epoch_sampler__without_a_count_each_epoch_has_fresh_views() -> None:
    sampler = EpochSampler(10, None, seed=0)
    for epoch in range(3):
        assert {view for _, view in items(sampler, epoch)} == {epoch + 1}


def test_epoch_sampler__goes_on_with_fresh_views_that_none_has_had() -> None:
    sampler, cached = EpochSampler(10, 4, seed=0, fresh_from=3), EpochSampler(10, 4, seed=0)
    assert [items(sampler, epoch) for epoch in range(3)] == [items(cached, epoch) for epoch in range(3)]
    assert [{view for _, view in items(sampler, epoch)} for epoch in (3, 4, 5)] == [{4}, {5}, {6}]
    assert [row for row, _ in items(sampler, 4)] == [row for row, _ in items(cached, 4)]
    always, fresh = EpochSampler(10, 1, seed=0, fresh_from=0), EpochSampler(10, None, seed=0)
    assert items(always, 7) == items(fresh, 7), "the whole image is never among them"


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4]), (5, [5, 5]), (10, [10]), (11, [10]), (64, [10])])
def test_train_loader__drops_a_last_batch_unless_it_is_the_only_one(batch_size: int, sizes: list[int]) -> None:
    loader = train_loader(dataset(), EpochSampler(10, 2, seed=0), batch_size=batch_size, workers=0)
    assert [len(batch["image_id"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_whole_image_loader__view_zero_of_every_row_in_order() -> None:
    data = dataset()
    batches = list(whole_image_loader(data, 10, batch_size=4, workers=0))
    assert [len(batch["image"]) for batch in batches] == [4, 4, 2]
    images = torch.cat([batch["image"] for batch in batches])
    assert all(torch.equal(images[row], data[row, 0]["image"]) for row in range(10))


def test_train_loader__workers_change_nothing() -> None:
    batches: list[list[dict[str, Any]]] = []
    for workers in (0, 2):
        sampler = EpochSampler(10, 3, seed=0)
        sampler.set_epoch(1)
        batches.append(list(train_loader(dataset(), sampler, batch_size=5, workers=workers)))
    for first, second in zip(*batches, strict=True):
        assert first["image_id"] == second["image_id"]
        assert torch.equal(first["image"], second["image"])


def test_view_dataset__examples() -> None:
    teacher = np.random.default_rng(0).standard_normal((10, 3, 2)).astype(np.float16)
    data = dataset(teacher=teacher)
    example = data[3, 2]
    assert example.keys() == {"image", "target", "labeled", "image_id", "teacher"}
    assert example["image"].shape == (3, 16, 16)
    assert example["image"].dtype == torch.uint8
    assert example["target"].tolist() == [0.0, 1.0]
    assert (example["target"].dtype, example["teacher"].dtype) == (np.float32, np.float32)
    assert example["labeled"] == np.float32(1)
    assert np.array_equal(example["teacher"], teacher[3, 2].astype(np.float32))
    assert "teacher" not in dataset()[3, 2]


def larger(image: Image.Image, view: View) -> NDArray[np.uint8]:
    return np.asarray(view.finish(image.crop(view.box).resize((24, 24))))


def test_view_dataset__a_view_nobody_was_asked_about_comes_with_the_teachers_own_render() -> None:
    manifest = Manifest.of(TWO, rows_of([path for path, _ in elpv_rows()[:10]], TWO))
    known = np.zeros((10, 3, 2), np.float16)
    mixed = ViewDataset(Examples(manifest, SPEC), render, known, larger)
    assert "teacher_image" not in mixed[3, 2]
    example = mixed[3, 3]
    assert "teacher" not in example
    assert torch.equal(example["image"], dataset()[3, 3]["image"])
    image = load(manifest.column("uri")[3])
    view = SPEC.draw(manifest.column("image_id")[3], 3, *image.size)
    assert torch.equal(example["teacher_image"], to_chw(larger(image, view)))
    live = ViewDataset(Examples(manifest, SPEC), render, teacher_render=larger)
    assert torch.equal(live[3, 3]["teacher_image"], example["teacher_image"])
    assert {"teacher", "teacher_image"} & live[3, 0].keys() == {"teacher_image"}
    with pytest.raises(IndexError):
        ViewDataset(Examples(manifest, SPEC), render, known)[3, 3]


def test_view_dataset__image_is_the_render_of_the_drawn_view() -> None:
    path = sorted(path for path, _ in elpv_rows()[:10])[4]
    image = load(str(path))
    view = SPEC.draw(path.stem, 2, *image.size)
    assert torch.equal(dataset()[4, 2]["image"], to_chw(render(image, view)))
    assert not torch.equal(dataset()[4, 2]["image"], dataset()[4, 1]["image"])


def test_view_dataset__rows_without_a_label_are_marked() -> None:
    rows = rows_of([elpv_rows()[0][0]], TWO)
    rows[0]["target"] = None
    example = ViewDataset(Examples(Manifest.of(TWO, rows), SPEC), render)[0, 0]
    assert example["labeled"] == np.float32(0)
    assert example["target"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("content", [None, b"", b"<html>"])
def test_load__an_image_that_has_gone_bad_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png: .*run `pocketeva prepare` again"):
        load(str(path))


def test_load__a_damaged_working_copy_is_to_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "working" / "64" / "ab" / ("ab" * 32 + ".jpg")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xd8\xff half")
    with pytest.raises(UserError, match=r"\.jpg: .*delete it and run the same command again"):
        load(str(path))


class Threads(Dataset[Any]):
    """What threads a worker process would use, and what it does on an interrupt."""

    def __getitem__(self, item: Item) -> list[Any]:
        np.ones((64, 64)) @ np.ones((64, 64))
        pools = [pool["num_threads"] for pool in threadpool_info()]
        return [torch.get_num_threads(), *pools, int(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)]


def test_worker_settings__one_thread_per_worker_and_interrupts_left_to_the_parent() -> None:
    with threadpool_limits(4):
        (seen,) = DataLoader(Threads(), sampler=[(0, 0)], **worker_settings(1))
        assert len(seen) > 2
        assert {int(value) for value in seen} == {1}
        assert any(pool["num_threads"] > 1 for pool in threadpool_info()), "the parent keeps its threads"


def test_view_dataset__reads_what_the_manifest_names_and_draws_by_image_id(tmp_path: Path) -> None:
    (path,) = (path for path, _ in elpv_rows()[:1])
    small = tmp_path / "other-name.png"
    load(str(path)).resize((150, 150)).save(small)
    rows = rows_of([path], TWO)
    copies = Manifest.of(TWO, [{**rows[0], "uri": str(small)}])
    examples = [ViewDataset(Examples(manifest, SPEC), render)[0, 2] for manifest in (Manifest.of(TWO, rows), copies)]
    assert examples[0]["image_id"] == examples[1]["image_id"]
    difference = (examples[0]["image"].float() - examples[1]["image"].float()).abs()
    assert 0 < difference.mean() < 12, "the same view of another file"


@pytest.mark.parametrize("views", [3, None])
def test_epoch_sampler__shares_together_are_the_whole(views: int | None) -> None:
    whole = items(EpochSampler(11, views, seed=1), 2)
    shares = [items(EpochSampler(11, views, 1, Rank(number, 3)), 2) for number in range(3)]
    assert [len(EpochSampler(11, views, 1, Rank(number, 3))) for number in range(3)] == [3, 3, 3]
    together = [item for step in zip(*shares, strict=True) for item in step]
    assert together == whole[:9]


def test_epoch_sampler__fewer_rows_than_processes() -> None:
    with pytest.raises(UserError, match="2 training images are too few for 3 processes"):
        EpochSampler(2, None, 0, Rank(0, 3))


@pytest.mark.parametrize(("rows", "each"), [(11, [4, 4, 3]), (3, [1, 1, 1]), (2, [2, 2, 2])])
def test_whole_images__shares(rows: int, each: list[int]) -> None:
    shares = [whole_images(rows, Rank(number, 3)) for number in range(3)]
    assert [len(share) for share in shares] == each
    assert {item for share in shares for item in share} == {(row, 0) for row in range(rows)}
