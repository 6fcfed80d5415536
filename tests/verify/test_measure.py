import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data.loaders import load
from data.manifest import Manifest
from export.release import INT8, Release, open_onnx
from export.runtime import OnnxClassifier, Picture, processor
from models.spec import InputSpec
from run.folder import RunFolder
from tests.support import FOUR
from verify import chunks
from verify.latency import read_latencies
from verify.measure import measure, measured_rows, run_files
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
        alone = np.stack([model.logits_of(Picture(image)) for image in images])
        assert np.array_equal(predictions.logits(file.name), alone), file.name
        np.testing.assert_allclose(predictions.probabilities(file.name), model.probabilities(images), atol=1e-6)
        assert predictions.files[file.name].sha256 == file.digest


def test_measure__prepares_an_image_once_for_all_files_that_see_it_alike(
    finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = 0
    render = InputSpec.render

    def counted(spec: InputSpec, image: Image.Image) -> NDArray[np.uint8]:
        nonlocal prepared
        prepared += 1
        return render(spec, image)

    monkeypatch.setattr(InputSpec, "render", counted)
    monkeypatch.setattr(chunks, "usable_cores", lambda: 1)
    manifest = Manifest.read(finished_run.manifest, FOUR)
    (model,) = (one for one in Release(finished_run.release).models() if one.role == "student")
    files = {file.name: file for file in (model.reference, model.file(INT8))}
    run_files(RunFolder(tmp_path / "quick"), manifest, files, {name: file.digest for name, file in files.items()})
    assert prepared == len(measured_rows(manifest))


def test_measure__latency_of_every_released_file(finished_run: RunFolder) -> None:
    latencies = read_latencies(finished_run.verify / "latency.json")
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    assert set(latencies) == set(predictions.files)
    assert all(0 < found.p50 <= found.p95 and found.threads == 1 for found in latencies.values())
    assert {found.processor for found in latencies.values()} == {processor()}


def test_measure__killed_and_resumed_it_gives_the_same_bytes(
    finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "quick")
    run.verify.mkdir(parents=True)
    shutil.copyfile(finished_run.verify / "key", run.verify / "key")
    manifest = Manifest.read(finished_run.manifest, FOUR)
    (model,) = (one for one in Release(finished_run.release).models() if one.role == "student")
    files = [model.reference, model.file(INT8)]
    monkeypatch.setattr(chunks, "CHUNK", 8)
    monkeypatch.setattr(chunks, "usable_cores", lambda: 1)  # or one thread may be killed in the first chunk
    left = 20

    class Killed(OnnxClassifier):
        def logits_of(self, picture: Picture) -> NDArray[np.float32]:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return super().logits_of(picture)

    with monkeypatch.context() as patch:
        patch.setattr("export.release.OnnxClassifier", Killed)
        with pytest.raises(KeyboardInterrupt):
            measure(run, manifest, files, [])
    assert list((run.verify / "chunks").rglob("*.npy"))
    assert not (run.verify / "predictions.parquet").exists()
    found = measure(run, manifest, files, []).predictions
    whole = Predictions.read(finished_run.verify / "predictions.parquet")
    columns = ["image", "split", "target", *(file.name for file in files)]
    assert found.table.select(columns).equals(whole.table.select(columns))
