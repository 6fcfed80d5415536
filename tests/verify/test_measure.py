import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data.loaders import load
from data.manifest import Manifest
from export.release import Release, open_onnx
from run.folder import RunFolder
from tests.support import FOUR
from verify import measure
from verify.latency import read_latencies
from verify.predictions import Predictions


def test_measure__probabilities_are_those_of_each_file_run_alone(finished_run: RunFolder) -> None:
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    test = Manifest.read(finished_run.manifest, FOUR).labeled_rows("test")
    images = [load(uri) for uri in test.column("uri")]
    files = [file for model in Release(finished_run.release).models() for file in model.files()]
    assert list(predictions.files) == [file.name for file in files]
    for file in files:
        alone = open_onnx(file.path, threads=1).probabilities(images)
        assert np.array_equal(predictions.probabilities(file.name), alone), file.name
        assert predictions.files[file.name].sha256 == file.digest


def test_measure__latency_of_every_released_file(finished_run: RunFolder) -> None:
    latencies = read_latencies(finished_run.verify / "latency.json")
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    assert set(latencies) == set(predictions.files)
    assert all(0 < found.p50 <= found.p95 and found.threads == 1 for found in latencies.values())


@dataclass
class Slow:
    """A model that takes its time."""

    images: int = 0

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        self.images += 1
        time.sleep(0.01)
        return np.zeros((1, 4), np.float32)


def test_measure__an_interrupt_does_not_wait_for_the_rest(
    finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def interrupted(description: str, total: int) -> Iterator[Callable[[int], None]]:
        def advance(count: int) -> None:
            raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(measure, "progress", interrupted)
    test = Manifest.read(finished_run.manifest, FOUR).labeled_rows("test")
    many = replace(test, table=test.table.take(np.zeros(2000, int)))
    slow: Any = Slow()
    with pytest.raises(KeyboardInterrupt):
        measure._run_files(many, {"slow": slow})
    assert slow.images < 200
