import numpy as np

from data.loaders import load
from data.manifest import Manifest
from export.release import Release, open_onnx
from run.folder import RunFolder
from tests.support import FOUR
from verify.latency import read_latencies
from verify.measure import measured_rows
from verify.predictions import Predictions


def test_measure__logits_are_those_of_each_file_run_alone(finished_run: RunFolder) -> None:
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    rows = measured_rows(Manifest.read(finished_run.manifest, FOUR))
    assert predictions.column("split") == rows.column("split")
    assert set(rows.column("split")) == {"calibration", "test"}
    images = [load(uri) for uri in rows.column("uri")]
    files = [file for model in Release(finished_run.release).models() for file in model.files()]
    assert list(predictions.files) == [file.name for file in files]
    for file in files:
        model = open_onnx(file.path, threads=1)
        alone = np.stack([model.logits_of(image) for image in images])
        assert np.array_equal(predictions.logits(file.name), alone), file.name
        np.testing.assert_allclose(predictions.probabilities(file.name), model.probabilities(images), atol=1e-6)
        assert predictions.files[file.name].sha256 == file.digest


def test_measure__latency_of_every_released_file(finished_run: RunFolder) -> None:
    latencies = read_latencies(finished_run.verify / "latency.json")
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    assert set(latencies) == set(predictions.files)
    assert all(0 < found.p50 <= found.p95 and found.threads == 1 for found in latencies.values())
