import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.check import compare
from cache.fill import PassCount
from cache.frozen import FrozenModel
from cache.read import head_logits, read_outputs
from cache.render import render_batches
from cache.shards import Shard
from data.examples import Examples
from data.labels import LabelSet
from data.loaders import load
from data.manifest import Manifest
from models.classifier import Classifier
from models.forward import forward_of
from run.disk import DiskFullError
from run.errors import UserError
from run.folder import RunFolder
from run.ranks import Rank
from tests.cache.view_caches import PATHS, SMALL, SPEC, Counted, fill, manifest, model, opened, shards
from tests.support import TRAINER, TWO, context, files_below, rows_of, tiny


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return model()


def expected(classifier: Classifier, rows: Manifest, views: int) -> NDArray[np.float32]:
    """One view at a time, without any of the cache's machinery."""
    result = []
    for uri, image_id in zip(rows.column("uri"), rows.column("image_id"), strict=True):
        image = load(uri)
        for index in range(views):
            values = classifier.spec.normalize(classifier.spec.render(image, SPEC.draw(image_id, index, *image.size)))
            with torch.no_grad():
                result.append(classifier.model(torch.from_numpy(values)[None]).numpy()[0])
    return np.array(result).reshape(len(rows), views, 2)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_view_cache__opening_and_checking_write_nothing(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path / "cache", classifier)
    assert not cache.is_recorded()
    read_outputs(cache, [], 1)
    assert not (tmp_path / "cache").exists()
    fill(cache, classifier, manifest(3), 1)
    before = files_below(tmp_path)
    again = opened(tmp_path / "cache", classifier)
    assert again.is_recorded()
    read_outputs(again, manifest(3).column("image_id"), 1)
    compare(again, manifest(3), forward_of(classifier, "logits", TRAINER, "32-true"), 2)
    assert files_below(tmp_path) == before


def test_fill__computes_each_image_and_view_once(tmp_path: Path, classifier: Classifier) -> None:
    cache, rows = opened(tmp_path, classifier), manifest()
    assert fill(cache, classifier, rows, 3).images_x_views == 33
    assert fill(cache, classifier, rows, 3).images_x_views == 0
    assert fill(opened(tmp_path, classifier), classifier, rows, 2).images_x_views == 0
    values = read_outputs(opened(tmp_path, classifier), rows.column("image_id"), 3)[:]
    assert values.dtype == np.float16
    np.testing.assert_allclose(values, expected(classifier, rows, 3), rtol=2e-3, atol=2e-3)


def test_read__rows_come_in_the_order_asked_for(tmp_path: Path, classifier: Classifier) -> None:
    cache, ids = opened(tmp_path, classifier), manifest().column("image_id")
    fill(cache, classifier, manifest(), 2)
    whole = read_outputs(cache, ids, 2)[:]
    assert np.array_equal(read_outputs(cache, ids[::-1], 2)[:], whole[::-1])
    assert np.array_equal(read_outputs(cache, ids[3:5], 1)[:], whole[3:5, :1])
    assert len({row.tobytes() for row in whole.reshape(22, 2)}) == 22


def test_fill__more_images_or_views_compute_only_those(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path, classifier)
    assert fill(cache, classifier, manifest(6), 2).images_x_views == 12
    before = shards(cache)
    assert fill(cache, classifier, manifest(), 2).images_x_views == 10
    assert fill(cache, classifier, manifest(), 5).images_x_views == 33
    assert fill(cache, classifier, manifest(), 5).images_x_views == 0
    after = shards(opened(tmp_path, classifier))
    assert {name: after[name] for name in before} == before
    values = read_outputs(opened(tmp_path, classifier), manifest().column("image_id"), 5)[:]
    np.testing.assert_allclose(values, expected(classifier, manifest(), 5), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("batches", [0, 1, 3, 5])
def test_fill__resumed_is_byte_for_byte_the_same(tmp_path: Path, classifier: Classifier, batches: int) -> None:
    whole, cut = opened(tmp_path / "whole", classifier), opened(tmp_path / "cut", classifier)
    fill(whole, classifier, manifest(), 3)
    forward = forward_of(classifier, "logits", TRAINER, "32-true")
    with pytest.raises(KeyboardInterrupt):
        fill(cut, classifier, manifest(), 3, Counted(forward, batches, interrupt))
    left = fill(opened(tmp_path / "cut", classifier), classifier, manifest(), 3).images_x_views
    assert left == 33 - 12 * (batches // 2), "two images a batch: two batches make a shard"
    assert shards(opened(tmp_path / "cut", classifier)) == shards(whole)


def test_fill__the_batch_is_decided_once(tmp_path: Path, classifier: Classifier) -> None:
    def batches_seen(images: Tensor) -> NDArray[np.float32]:
        return np.full((len(images), 2), len(images), np.float32)

    cache, rows = opened(tmp_path, classifier), manifest(8)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, classifier, rows, 1, Counted(batches_seen, 1, interrupt), batch=3)
    fill(cache, classifier, rows, 1, batches_seen, batch=2)
    values = read_outputs(cache, sorted(rows.column("image_id")), 1)[:][:, 0, 0]
    assert values.tolist() == [3, 3, 3, 1] * 2, "four images a shard"
    fill(cache, classifier, rows, 3, batches_seen, batch=4)
    assert read_outputs(cache, rows.column("image_id"), 3)[:, 1:].max() == 4, "what is planned anew may differ"
    plan = (cache.folder / "plan-000.json.gz").stat().st_size
    assert plan < 200 + 64 * len(rows), "compressed"


def test_fill__views_of_one_image_that_are_more_than_a_batch_are_divided(
    tmp_path: Path, classifier: Classifier
) -> None:
    forward = Counted(forward_of(classifier, "logits", TRAINER, "32-true"))
    sizes: list[int] = []

    def noted(images: Tensor) -> NDArray[np.float32]:
        sizes.append(len(images))
        return forward(images)

    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(2), 5, noted, batch=2)
    assert sizes == [2, 2, 1] * 2
    values = read_outputs(cache, manifest(2).column("image_id"), 5)[:]
    np.testing.assert_allclose(values, expected(classifier, manifest(2), 5), rtol=2e-3, atol=2e-3)


def test_fill__where_images_lie_changes_no_byte(tmp_path: Path, classifier: Classifier) -> None:
    moved = rows_of(PATHS, TWO)
    for number, row in enumerate(moved):  # other names, in the opposite order
        place = tmp_path / f"{len(moved) - number:02d}.png"
        shutil.copyfile(row["uri"], place)
        row["uri"] = str(place)
    caches = []
    for name, rows in (("here", manifest()), ("there", Manifest.of(TWO, moved))):
        caches.append(opened(tmp_path / name, classifier))
        fill(caches[-1], classifier, rows, 2)
    assert shards(caches[0]) == shards(caches[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-2] + b"zz"),
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").write_text('{"images": ['),
        lambda path: path.with_suffix(".json").write_text(""),
        lambda path: path.with_suffix(".json").unlink(),
    ],
)
def test_fill__a_damaged_shard_is_made_again(
    tmp_path: Path, classifier: Classifier, spoil: Callable[[Path], None]
) -> None:
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(), 3)
    before = shards(cache)
    spoil(sorted(cache.folder.glob("*.npy"))[1])
    again = opened(tmp_path, classifier)
    assert fill(again, classifier, manifest(), 3).images_x_views in (9, 12)
    assert shards(again) == before


def test_fill__what_a_kill_leaves_is_no_shard(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(), 1)
    (path, *_) = sorted(cache.folder.glob("[0-9]*.json"))
    (cache.folder / f".partial-{path.name}").write_text('{"ima')
    assert fill(opened(tmp_path, classifier), classifier, manifest(), 1).images_x_views == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "x"},
        {"labels": "x"},
        {"views": replace(SPEC, crop_scale=(0.9, 1.0))},
        {"precision": "bf16-mixed"},
        {"compiled": True},
        {"output": "features"},
        {"layout": "top"},
    ],
)
def test_record__another_key_is_another_folder(tmp_path: Path, classifier: Classifier, changes: dict[str, Any]) -> None:
    first, second = opened(tmp_path, classifier), opened(tmp_path, classifier, **changes)
    assert first.folder != second.folder
    first.record()
    second.record()
    stored = json.loads((second.folder / "key.json").read_text())
    assert stored != json.loads((first.folder / "key.json").read_text())
    assert stored == second.key.to_json()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_fill__a_value_that_is_not_finite_in_half_precision_names_the_image(
    tmp_path: Path, classifier: Classifier, value: float
) -> None:
    calls = []

    def forward(images: Tensor) -> NDArray[np.float32]:
        values = np.zeros((len(images), 2), np.float32)
        calls.append(len(images))
        if sum(calls) == 12:  # the last two images of the first shard
            values[0, 1] = value
        return values

    cache = opened(tmp_path, classifier)
    with pytest.raises(UserError, match="not finite") as error:
        fill(cache, classifier, manifest(), 3, forward)
    third = sorted(manifest().column("image_id"))[2]
    assert str(error.value).endswith(f"{third}.png")
    assert shards(cache) == {}


def test_frozen_model__features_serve_any_head(tmp_path: Path, classifier: Classifier) -> None:
    def ask(output: Any, model: Classifier, count: int = 2) -> NDArray[np.floating]:
        frozen = FrozenModel(model, output, context(RunFolder(tmp_path)))
        return frozen.compute_outputs(Examples(manifest(), SPEC), count)[:]

    features = ask("features", classifier)
    assert features.shape == (11, 2, classifier.feature_width)
    np.testing.assert_allclose(head_logits(classifier, features), ask("logits", classifier), rtol=5e-3, atol=2e-2)
    before = files_below(tmp_path)
    with torch.no_grad():
        classifier.head.bias.add_(1.0)
    try:
        assert np.array_equal(ask("features", classifier), features)
        assert files_below(tmp_path) == before, "another head needs no other features"
        assert not np.array_equal(ask("logits", classifier), head_logits(classifier, features) - 1)
        assert len(list((tmp_path / "cache").iterdir())) == 3
    finally:
        with torch.no_grad():
            classifier.head.bias.sub_(1.0)


def test_fill__fewer_views_than_an_unfinished_pass_had_planned(tmp_path: Path, classifier: Classifier) -> None:
    """Whoever stops a pass over many views and asks for few does not get the many."""
    forward = forward_of(classifier, "logits", TRAINER, "32-true")
    with pytest.raises(KeyboardInterrupt):
        fill(opened(tmp_path, classifier), classifier, manifest(), 3, Counted(forward, 2, interrupt))
    cache = opened(tmp_path, classifier)
    assert fill(cache, classifier, manifest(), 1) == PassCount(7, 4), "four images have their three views"
    assert fill(cache, classifier, manifest(), 3) == PassCount(14, 19)
    values = read_outputs(cache, manifest().column("image_id"), 3)[:]
    np.testing.assert_allclose(values, expected(classifier, manifest(), 3), rtol=2e-3, atol=2e-3)


def test_fill__what_others_may_have_planned_is_not_changed_beside_them(tmp_path: Path, classifier: Classifier) -> None:
    forward = forward_of(classifier, "logits", TRAINER, "32-true")
    with pytest.raises(KeyboardInterrupt):
        fill(opened(tmp_path, classifier), classifier, manifest(), 3, Counted(forward, 2, interrupt))
    with pytest.raises(UserError, match="start the same command again"):
        fill(opened(tmp_path, classifier), classifier, manifest(), 1, rank=Rank(0, 2))
    assert fill(opened(tmp_path, classifier), classifier, manifest(), 1) == PassCount(7, 4)


def test_fill__images_that_are_gone_from_the_manifest_are_not_missed(tmp_path: Path, classifier: Classifier) -> None:
    forward = forward_of(classifier, "logits", TRAINER, "32-true")
    with pytest.raises(KeyboardInterrupt):
        fill(opened(tmp_path, classifier), classifier, manifest(), 2, Counted(forward, 0, interrupt))
    assert fill(opened(tmp_path, classifier), classifier, manifest(5), 2) == PassCount(10, 0)


def test_fill__a_damaged_plan_is_made_again(
    tmp_path: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(), 2)
    (cache.folder / "plan-000.json.gz").write_text('{"shards": [')
    before = shards(cache)
    assert fill(opened(tmp_path, classifier), classifier, manifest(), 2) == PassCount(0, 22)
    assert "plan-000.json.gz is damaged" in capsys.readouterr().err
    assert fill(opened(tmp_path, classifier), classifier, manifest(), 2) == PassCount(0, 22)
    assert "damaged" not in capsys.readouterr().err
    assert shards(cache) == before


def test_fill__a_shard_of_other_images_is_no_stand_in(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(3), 1)
    (cache.folder / "plan-000.json.gz").unlink()
    ids = sorted(manifest(3).column("image_id"))[:2]
    fewer = Manifest.of(TWO, [row for row in rows_of(PATHS[:3], TWO) if row["image_id"] in ids])
    assert fill(cache, classifier, fewer, 1) == PassCount(2, 0), "the first image is the same"


def test_frozen_model__a_compiled_model_has_a_cache_of_its_own(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    for compiled in (False, True):
        run = context(RunFolder(tmp_path), trainer=replace(TRAINER, compile_frozen=compiled))
        FrozenModel(classifier, "logits", run).compute_outputs(Examples(manifest(3), SPEC), 1)
    keys = [json.loads(path.read_text()) for path in tmp_path.glob("cache/*/key.json")]
    assert sorted(key["compiled"] for key in keys) == [False, True]


def test_fill__later_views_alone_do_not_count_as_the_first_ones(tmp_path: Path, classifier: Classifier) -> None:
    fill(opened(tmp_path, classifier), classifier, manifest(3), 2)
    fill(opened(tmp_path, classifier), classifier, manifest(3), 4)
    cache = opened(tmp_path, classifier)
    (cache.folder / "plan-000.json.gz").unlink()
    assert fill(cache, classifier, manifest(3), 4) == PassCount(12, 0)
    values = read_outputs(cache, manifest(3).column("image_id"), 4)[:]
    np.testing.assert_allclose(values, expected(classifier, manifest(3), 4), rtol=2e-3, atol=2e-3)


def test_fill__a_disk_that_is_too_small_is_refused_before_any_work(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = opened(tmp_path, classifier)
    usage = shutil.disk_usage(tmp_path)
    forward = Counted(forward_of(classifier, "logits", TRAINER, "32-true"))
    needed = 33 * 2 * 2 + 3 * 512
    for free, enough in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if enough:
            assert fill(cache, classifier, manifest(), 3, forward) == PassCount(33, 0)
            continue
        with pytest.raises(UserError, match=rf"needs .*\({needed:,} bytes\) more .*{free:,} bytes"):
            fill(cache, classifier, manifest(), 3, forward)
        assert forward.images == 0


def test_fill__a_disk_without_room_for_the_plan_is_the_users_to_know(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = opened(tmp_path, classifier)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match=r"disk is full: .*\(132 bytes\)"):
        fill(cache, classifier, manifest(), 3)


def test_fill__a_disk_that_fills_up_keeps_what_is_made(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, write = opened(tmp_path, classifier), Path.write_bytes
    with monkeypatch.context() as patch:

        def full(path: Path, data: bytes) -> int:
            if any(cache.folder.glob("[0-9]*.npy")) and "plan" not in path.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, data)

        patch.setattr(Path, "write_bytes", full)
        needed = 7 * 3 * 4 + 2 * 512
        with pytest.raises(DiskFullError, match=rf"disk is full: .*\({needed:,} bytes\)"):
            fill(cache, classifier, manifest(), 3)
    assert len(shards(cache)) == 2
    assert fill(cache, classifier, manifest(), 3) == PassCount(21, 12)


@pytest.mark.parametrize("layout", ["all", "top"])
def test_fill__takes_two_bytes_a_number_and_a_header_per_shard(tmp_path: Path, layout: str) -> None:
    labels = LabelSet(tuple(f"label {index}" for index in range(65 if layout == "all" else 150)), "nominal")
    classifier = tiny("test_resnet", labels, 32)
    cache, rows = opened(tmp_path, classifier), Manifest.of(labels, rows_of(PATHS, labels))
    assert cache.key.layout == layout
    fill(cache, classifier, rows, 2)
    values = read_outputs(cache, rows.column("image_id"), 2)
    assert values.shape == values[:].shape == (11, 2, len(labels))
    assert np.array_equal(values[3, -1], values[:][3, 1]), "one at a time as all at once"
    stored = sum(len(data) for data in shards(cache).values())
    assert stored <= 22 * 2 * len(labels) + 3 * 512
    live = forward_of(classifier, "logits", TRAINER, "32-true")
    whole = next(
        render_batches(rows, [Shard(tuple(rows.column("image_id")), 0, 1, 64)], classifier.spec, SPEC, workers=0)
    )
    logits = live(whole[:, 0])
    assert np.array_equal(values[: len(logits), 0].argmax(1), logits.argmax(1))
    if layout == "all":
        np.testing.assert_allclose(values[: len(logits), 0], logits, rtol=2e-3, atol=2e-3)
