import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from cache.read import CHUNK_ROWS, HeadLogits, Outputs, head_logits
from cache.shards import Shard, write_shard
from tests.support import tiny

WIDTH, BATCH = 16, 64
SHARDS = [
    Shard(("a", "b", "c"), 0, 2, BATCH),
    Shard(("d", "e"), 0, 2, BATCH),
    Shard(("f",), 0, 1, BATCH),
    Shard(("b", "d"), 2, 5, BATCH),
    Shard(("f",), 1, 5, BATCH),
]
ROWS = ["d", "f", "b"]


def value(image: str, view: int) -> NDArray[np.float16]:
    return (np.arange(WIDTH) + 100 * "abcdef".index(image) + 20 * view).astype(np.float16)


def stored(folder: Path, rows: list[str] = ROWS, views: int = 5) -> Outputs:
    for shard in SHARDS:
        values = [[value(image, view) for view in range(shard.start, shard.stop)] for image in shard.images]
        write_shard(folder, shard, np.array(values))
    return Outputs(folder, SHARDS, rows, views, WIDTH, np.asarray)


WHOLE = np.array([[value(image, view) for view in range(5)] for image in ROWS])


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:],
        np.s_[1],
        np.s_[-1, -1],
        np.s_[np.int64(1), 2],
        np.s_[1, 3],
        np.s_[2, 4],
        np.s_[:, 0],
        np.s_[1:, 2:4],
        np.s_[[2, 0, 2]],
        np.s_[[2, 0, 2, 1], [4, 0, 1, 3]],
        np.s_[np.array([[0, 1], [2, 2]]), 3],
        np.s_[np.array([False, True, True])],
        np.s_[[], []],
        np.s_[:0],
    ],
)
def test_outputs__are_indexed_like_an_array(tmp_path: Path, key: Any) -> None:
    expected = WHOLE[key]
    found = stored(tmp_path)[key]
    assert found.dtype == np.float16
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "key", [np.s_[3], np.s_[0, 5], np.s_[3, 0], np.s_[-4, 0], np.s_[0, -6], np.s_[[0, 3], [0, 0]], np.s_[0, 0, 0]]
)
def test_outputs__an_index_out_of_range_is_an_error(tmp_path: Path, key: object) -> None:
    with pytest.raises(IndexError):
        stored(tmp_path)[key]


def test_outputs__read_only_what_is_asked_for(tmp_path: Path) -> None:
    outputs = stored(tmp_path)
    for shard in SHARDS[1:]:
        shard.values_path(tmp_path).unlink()
    assert np.array_equal(outputs[2, :2], WHOLE[2, :2])
    with pytest.raises(FileNotFoundError):
        outputs[0, 0]


def test_outputs__what_is_missing_is_found_at_once(tmp_path: Path) -> None:
    stored(tmp_path, ["a"], 2)
    with pytest.raises(AssertionError, match="fill"):
        stored(tmp_path, ["a"], 3)


def test_outputs__keep_no_file_open_and_go_to_workers_small(tmp_path: Path) -> None:
    open_files = len(list(Path("/dev/fd").iterdir()))
    outputs = stored(tmp_path)
    outputs[:]
    assert len(list(Path("/dev/fd").iterdir())) == open_files
    data = pickle.dumps(outputs)
    assert len(data) < 1000 + 8 * 5 * len(ROWS) + sum(len(str(shard.values_path(tmp_path))) for shard in SHARDS)
    assert np.array_equal(pickle.loads(data)[:], WHOLE)


def test_outputs__serve_a_worker_process(tmp_path: Path) -> None:
    outputs = stored(tmp_path)
    outputs[0]  # mapped in this process before the worker starts
    loader = DataLoader(Rows(outputs), batch_size=2, num_workers=1)
    assert np.array_equal(torch.cat(list(loader)).numpy(), WHOLE)


class Rows(Dataset[Any]):
    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs

    def __getitem__(self, row: int) -> NDArray[np.floating]:
        return self.outputs[row]

    def __len__(self) -> int:
        return self.outputs.shape[0]


def test_head_logits__are_the_heads_own(tmp_path: Path) -> None:
    classifier = tiny()
    width = classifier.feature_width
    features = np.random.default_rng(0).normal(size=(CHUNK_ROWS + 2, 1, width)).astype(np.float16)
    with torch.no_grad():
        expected = classifier.head(torch.from_numpy(features).float()).numpy()
    whole, lazy = head_logits(classifier, features), HeadLogits(classifier, features)
    assert whole.dtype == np.float32
    assert whole.shape == lazy.shape == (CHUNK_ROWS + 2, 1, 2)
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lazy[[1, CHUNK_ROWS], [0, 0]], expected[[1, CHUNK_ROWS], 0], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        classifier.head.weight.zero_()
    assert lazy[0, 0].any(), "the head that was there when they were asked for"
