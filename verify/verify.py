"""Stage 4: measure the exported files on the test split, judge, and write the certificate. No torch here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from data.changes import Rows
from data.labels import LabelSet
from data.manifest import Manifest
from export.release import Release, ReleasedFile
from run.files import atomic_path, file_digest
from run.folder import RunFolder
from run.stage import Inputs, stage
from verify.certificate import CERTIFICATE, SCHEMA, Certificate
from verify.config import VerifyConfig
from verify.exported import read_exported, records
from verify.judge import judge
from verify.measure import measure


def verify(
    run: RunFolder,
    name: str,
    labels: LabelSet,
    config: VerifyConfig,
    students: Sequence[str],
    baselines: Mapping[str, ReleasedFile] | None = None,
) -> Certificate:
    """Judge every exported file on the test split, and write ``verify/certificate.json`` and its copies.

    Args:
        run: holds the manifest and the release.
        name: of the run.
        labels: the run's label set.
        config: the targets.
        students: names of the students in the release.
        baselines: by student, the exported file of the same model trained on labels alone.

    Raises:
        UserError: the release or the test split is not there, or an exported file carries other labels.
    """
    baselines = baselines or {}
    release = Release(run.release)
    models = [release.model(model) for model in ("teacher", *students)]
    # Before the hours of measuring: a release that is not whole is refused at once.
    exported = read_exported(models, baselines)
    manifest = Manifest.read(run.manifest, labels)
    measured = measure(run, manifest, [file for model in models for file in model.files()], list(baselines.values()))
    # Also where nothing changed: it takes an instant, and what is returned never comes from a file that was edited.
    certificate = judge(name, measured, exported, config)
    inputs: Inputs = {
        "certificate schema": SCHEMA,
        "images": Rows.of_images(manifest, "test"),
        "verify": asdict(config),
        "files": certificate.files,
        "baselines": {student: measured.predictions.files[file.name].sha256 for student, file in baselines.items()},
        "parity": [file_digest(path) for model in models for path in records(model)],
    }
    with stage(run, "verify", inputs) as current:
        if not current.done:
            path = run.verify / CERTIFICATE
            certificate.write(path)
            copies = [model.onnx / CERTIFICATE for model in models]
            for copy in copies:
                with atomic_path(copy) as partial:
                    shutil.copyfile(path, partial)
            current.wrote([path, *copies])
    return certificate
