"""Measuring: every judged file runs over every labeled test image. Slow, and repeated only for other files or images.

Nothing here imports torch.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.decode import decode
from data.manifest import Manifest
from data.storage import read_bytes
from export.release import ReleasedFile
from export.runtime import OnnxClassifier
from run.console import progress
from run.folder import RunFolder
from run.stage import stage
from verify.certificate import Latency
from verify.latency import measure_latency, read_latencies, write_latencies
from verify.predictions import JudgedFile, Predictions, make_key


@dataclass(frozen=True)
class Measurements:
    """Everything that running the files showed."""

    predictions: Predictions
    latencies: Mapping[str, Latency]
    """By released file."""


def measure(
    run: RunFolder, test: Manifest, files: Sequence[ReleasedFile], baselines: Sequence[ReleasedFile]
) -> Measurements:
    """Run every file over the test images; where the same files have seen the same images, read what was kept.

    Args:
        run: keeps ``verify/predictions.parquet`` and ``verify/latency.json``.
        test: labeled images.
        files: files of the release; their latency is measured too.
        baselines: files to compare students with.

    Raises:
        UserError: a file cannot be opened, or carries other labels.
    """
    digests = {file.name: file.digest for file in [*files, *baselines]}
    predictions_path = run.verify / "predictions.parquet"
    latencies_path = run.verify / "latency.json"
    with stage(run, "measure", {"images": test.digest("test"), "files": digests}) as current:
        if not current.done:
            # One thread a session: images run side by side, and what a file says depends on no machine's core count.
            opened = {file.name: file.open(threads=1) for file in [*files, *baselines]}
            for name, model in opened.items():
                test.labels.require_equal(model.labels, name)
            judged = {
                file.name: JudgedFile(digests[file.name], file.path.stat().st_size, opened[file.name].rule)
                for file in [*files, *baselines]
            }
            probabilities = _run_files(test, opened)
            Predictions.of(test, make_key(run.verify / "key"), judged, probabilities).write(predictions_path)
            # Last, when no other thread is busy.
            write_latencies(latencies_path, {file.name: measure_latency(opened[file.name]) for file in files})
            current.wrote([predictions_path, latencies_path])
    return Measurements(Predictions.read(predictions_path), read_latencies(latencies_path))


def _run_files(test: Manifest, models: Mapping[str, OnnxClassifier]) -> dict[str, NDArray[np.float32]]:
    """Probabilities [N, C] that each file gives, from the images' bytes; each image is decoded once."""

    def run_all(uri: str) -> list[NDArray[np.float32]]:
        image = decode(read_bytes(uri))
        # One image at a time, as apps do: dynamic INT8 takes its scales from a whole batch.
        return [model.probabilities([image])[0] for model in models.values()]

    rows = []
    uris = test.column("uri")
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with progress("test images", len(uris)) as advance:
            for row in pool.map(run_all, uris):
                rows.append(row)
                advance(1)
    finally:
        # An error or an interrupt must not wait for thousands of images that are still queued.
        pool.shutdown(cancel_futures=True)
    return {name: np.stack(column) for name, column in zip(models, zip(*rows, strict=True), strict=True)}
