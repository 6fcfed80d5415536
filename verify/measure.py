"""Measuring: every judged file runs over every labeled calibration and test image.

Slow, and repeated only for other files or images. Nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.manifest import Manifest, table_digest
from export.release import ReleasedFile
from export.runtime import Picture
from run.files import remove, write_json
from run.folder import RunFolder
from run.stage import stage
from verify.certificate import Latency
from verify.chunks import run_over
from verify.latency import measure_latency, read_latencies
from verify.predictions import PREDICTIONS, SCHEMA, JudgedFile, Predictions, make_key

MEASURED = ("calibration", "test")
"""Splits that the files are run over: operating points are fitted on one and judged on the other."""

BRIGHTNESS = "brightness"
LATENCIES = "latency.json"


@dataclass(frozen=True)
class Measurements:
    """Everything that running the files showed."""

    predictions: Predictions
    latencies: Mapping[str, Latency]
    """By released file."""


def measure(
    run: RunFolder, manifest: Manifest, files: Sequence[ReleasedFile], baselines: Sequence[ReleasedFile]
) -> Measurements:
    """Run every file over the images; where the same files have seen the same images, read what was kept.

    Args:
        run: keeps ``verify/predictions.parquet``, ``verify/latency.json``, and what was computed in ``verify/chunks``.
        files: files of the release; their latency is measured too.
        baselines: files to compare students with.

    Raises:
        UserError: a file cannot be opened, or carries other labels, or a split has no labeled images.
    """
    rows = measured_rows(manifest)
    judged = {file.name: file for file in [*files, *baselines]}
    digests = {name: file.digest for name, file in judged.items()}
    predictions_path = run.verify / PREDICTIONS
    near_training = _near_training(manifest, rows)
    # Wherever the files lie: a run and its images can be moved.
    seen = rows.table.drop_columns(["uri"]).append_column("near_training", pa.array(near_training))
    images = table_digest(seen, manifest.labels.digest)
    with stage(run, "measure", {"schema": SCHEMA, "images": images, "files": digests}) as current:
        if not current.done:
            chunks = run.verify / "chunks"
            run_files(run, manifest, judged, digests).write(predictions_path)
            for left_over in {path.name for path in chunks.iterdir()} - {BRIGHTNESS, *digests.values()}:
                remove(chunks / left_over)
            current.wrote([predictions_path])
    latencies_path = run.verify / LATENCIES
    with stage(run, "latency", {"files": {file.name: digests[file.name] for file in files}}) as current:
        if not current.done:
            # Last, when no other thread is busy.
            write_json(latencies_path, {file.name: asdict(measure_latency(file.open(threads=1))) for file in files})
            current.wrote([latencies_path])
    return Measurements(Predictions.read(predictions_path), read_latencies(latencies_path))


def measured_rows(manifest: Manifest) -> Manifest:
    """The labeled rows that files are run over, in the order of the images' digests.

    Raises:
        UserError: one of the splits has none.
    """
    rows = manifest.labeled_rows(*MEASURED)
    return Manifest(rows.labels, rows.table.sort_by([("image_id", "ascending"), ("split", "ascending")]))


def run_files(
    run: RunFolder,
    manifest: Manifest,
    files: Mapping[str, ReleasedFile],
    digests: Mapping[str, str],
    *,
    seconds: float | None = None,
) -> Predictions:
    """Predictions of these files by name, computed or from what was kept. This may take hours.

    Args:
        seconds: most that one inference may take; null leaves them be.

    Raises:
        UserError: a file cannot be opened, or carries other labels, or an image has changed.
    """
    # One thread a session: images run side by side, and what a file says depends on no machine's core count.
    opened = {name: file.open(threads=1, seconds=seconds) for name, file in files.items()}
    for name, model in opened.items():
        manifest.labels.require_equal(model.labels, name)
    rows = measured_rows(manifest)
    functions = {digests[name]: model.logits_of for name, model in opened.items()}
    found = run_over(rows, {**functions, BRIGHTNESS: brightness}, run.verify / "chunks")
    judged = {
        name: JudgedFile(digests[name], file.path.stat().st_size, opened[name].rule) for name, file in files.items()
    }
    return Predictions.of(
        rows,
        make_key(run.verify / "key"),
        judged,
        {name: found[digests[name]] for name in files},
        brightness=found[BRIGHTNESS][:, 0],
        near_training=_near_training(manifest, rows),
    )


def brightness(picture: Picture) -> NDArray[np.float32]:
    """Mean gray level [1] of an image, 0 to 255."""
    # A small copy is enough for a mean, and costs nothing beside a model.
    return np.array([np.asarray(picture.image.convert("L").reduce(4)).mean()], np.float32)


def _near_training(manifest: Manifest, rows: Manifest) -> NDArray[np.bool_]:
    """Rows [N] that are nearly the same as a training image."""
    training = manifest.usable("train").table.column("near")
    near = rows.table.column("near")
    return np.asarray(pc.and_(pc.is_valid(near), pc.is_in(near, value_set=pc.drop_null(training.combine_chunks()))))
