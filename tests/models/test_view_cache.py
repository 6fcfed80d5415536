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

import models.view_cache
from data.config import ViewsConfig
from data.loaders import load
from data.manifest import Manifest
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import Forward, forward_of
from models.view_cache import CacheKey, ViewCache, head_logits, outputs_over_views
from run.errors import UserError
from tests.support import TRAINER, TWO, elpv_rows, files_below, rows_of, tiny

SPEC = ViewSpec.of(ViewsConfig())
PATHS = [path for path, _ in elpv_rows()[:11]]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images a shard and at most six renders a batch, so that eleven images take several of both."""
    monkeypatch.setattr(models.view_cache, "SHARD_IMAGES", 4)
    monkeypatch.setattr(models.view_cache, "BATCH_SIZE", 6)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return tiny("test_resnet", TWO, 32)


def manifest(count: int = len(PATHS)) -> Manifest:
    return Manifest.of(TWO, rows_of(PATHS[:count], TWO))


def opened(root: Path, classifier: Classifier, **changes: Any) -> ViewCache:
    key = CacheKey(
        output="logits",
        weights=classifier.weights_digest(),
        input=classifier.spec.digest,
        views=SPEC.digest,
        precision="32-true",
        width=2,
    )
    return ViewCache(root, replace(key, **changes))


def fill(cache: ViewCache, classifier: Classifier, rows: Manifest, views: int, forward: Forward | None = None) -> int:
    forward = forward or forward_of(classifier, "logits", TRAINER, "32-true")
    return cache.fill(rows, views, forward, classifier.spec, SPEC, workers=0)


def expected(classifier: Classifier, rows: Manifest, views: int) -> NDArray[np.float32]:
    """One view at a time, without any of the cache's machinery."""
    result = []
    for uri, image_id in zip(rows.column("uri"), rows.column("image_id"), strict=True):
        image = load(uri)
        for index in range(views):
            values = classifier.spec.normalise(classifier.spec.render(image, SPEC.draw(image_id, index, *image.size)))
            with torch.no_grad():
                result.append(classifier.model(torch.from_numpy(values)[None]).numpy()[0])
    return np.array(result).reshape(len(rows), views, 2)


def shards(cache: ViewCache) -> dict[str, bytes]:
    return {name: data for name, data in files_below(cache.folder).items() if name != "key.json"}


class Interrupted:
    """A forward that is cut off after some batches."""

    def __init__(self, forward: Forward, batches: int) -> None:
        self.forward, self.left = forward, batches

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.forward(images)


def test_fill__computes_each_image_and_view_once(tmp_path: Path, classifier: Classifier) -> None:
    cache, rows = opened(tmp_path, classifier), manifest()
    assert fill(cache, classifier, rows, 3) == 33
    assert fill(cache, classifier, rows, 3) == 0
    assert fill(opened(tmp_path, classifier), classifier, rows, 2) == 0
    values = opened(tmp_path, classifier).read(rows.column("image_id"), 3)
    assert values.dtype == np.float16
    np.testing.assert_allclose(values, expected(classifier, rows, 3), rtol=2e-3, atol=2e-3)


def test_read__rows_come_in_the_order_asked_for(tmp_path: Path, classifier: Classifier) -> None:
    cache, ids = opened(tmp_path, classifier), manifest().column("image_id")
    fill(cache, classifier, manifest(), 2)
    whole = cache.read(ids, 2)
    assert np.array_equal(cache.read(ids[::-1], 2), whole[::-1])
    assert np.array_equal(cache.read(ids[3:5], 1), whole[3:5, :1])
    assert len({row.tobytes() for row in whole.reshape(22, 2)}) == 22


def test_fill__more_images_or_views_compute_only_those(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path, classifier)
    assert fill(cache, classifier, manifest(6), 2) == 12
    before = shards(cache)
    assert fill(cache, classifier, manifest(), 2) == 10
    assert fill(cache, classifier, manifest(), 5) == 33
    assert fill(cache, classifier, manifest(), 5) == 0
    after = shards(opened(tmp_path, classifier))
    assert {name: after[name] for name in before} == before
    values = opened(tmp_path, classifier).read(manifest().column("image_id"), 5)
    np.testing.assert_allclose(values, expected(classifier, manifest(), 5), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("batches", [0, 1, 3, 5])
def test_fill__resumed_is_byte_for_byte_the_same(tmp_path: Path, classifier: Classifier, batches: int) -> None:
    whole, cut = opened(tmp_path / "whole", classifier), opened(tmp_path / "cut", classifier)
    fill(whole, classifier, manifest(), 3)
    forward = forward_of(classifier, "logits", TRAINER, "32-true")
    with pytest.raises(KeyboardInterrupt):
        fill(cut, classifier, manifest(), 3, Interrupted(forward, batches))
    left = fill(opened(tmp_path / "cut", classifier), classifier, manifest(), 3)
    assert left == 33 - 12 * (batches // 2), "two images a batch: two batches make a shard"
    assert shards(opened(tmp_path / "cut", classifier)) == shards(whole)


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
    assert fill(again, classifier, manifest(), 3) in (9, 12)
    assert shards(again) == before


def test_view_cache__what_a_kill_leaves_is_no_shard(tmp_path: Path, classifier: Classifier) -> None:
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(), 1)
    (path, *_) = sorted(cache.folder.glob("*.json"))
    (cache.folder / f".partial-{path.name}").write_text('{"ima')
    assert fill(opened(tmp_path, classifier), classifier, manifest(), 1) == 0


@pytest.mark.parametrize(
    "changes",
    [{"weights": "x"}, {"input": "x"}, {"views": "x"}, {"precision": "bf16-mixed"}, {"output": "features"}],
)
def test_view_cache__another_key_is_another_folder(
    tmp_path: Path, classifier: Classifier, changes: dict[str, Any]
) -> None:
    first, second = opened(tmp_path, classifier), opened(tmp_path, classifier, **changes)
    assert first.folder != second.folder
    assert json.loads((second.folder / "key.json").read_text()).items() >= changes.items()


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


def test_outputs_over_views__features_serve_any_head(tmp_path: Path, classifier: Classifier) -> None:
    def ask(output: Any, model: Classifier, count: int = 2) -> NDArray[np.float16]:
        return outputs_over_views(
            model, output, manifest(), count, SPEC, root=tmp_path, trainer=TRAINER, precision="32-true"
        )

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
        assert len(list(tmp_path.iterdir())) == 3
    finally:
        with torch.no_grad():
            classifier.head.bias.sub_(1.0)
