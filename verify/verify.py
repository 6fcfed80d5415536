"""Stage 4: measure the exported files on the test split, judge, and write the certificate. No torch here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from data.audit import Promise
from data.changes import Rows
from data.labels import LabelSet
from data.manifest import Manifest
from data.storage import shown
from export.points.config import DecisionConfig
from export.release import TEACHER, Release, ReleasedFile, ReleasedModel
from fitting.diagnosis import read_notes, to_json
from models.decision import DecisionRule
from run.console import log
from run.errors import UserError, plural, quoted
from run.files import atomic_path, file_digest, json_digest
from run.folder import RunFolder
from run.stage import Inputs, had_input, stage
from verify.certificate import CERTIFICATE, SCHEMA, Certificate, Look
from verify.config import VerifyConfig
from verify.consistent import checkpoint_contradictions, onnx_contradictions
from verify.evidence import Evidence, Finite
from verify.exported import ExportedModel, read_exported, records
from verify.judge import judge
from verify.latency import read_latencies
from verify.ledger import LEDGER, Judged, Ledger, confidence_of_look, record_use
from verify.measure import LATENCIES, Measurements, measure
from verify.metrics import as_sets
from verify.predictions import PREDICTIONS, Predictions, keyed, make_key
from verify.seal import (
    certificate_differences,
    copy_differences,
    manifest_of,
    prediction_differences,
    require_exported,
    score_differences,
)
from verify.table import TABLE, write_table


@dataclass(frozen=True)
class Verification:
    """A run's release, and all that it is judged by.

    Args:
        run: holds the manifest and the release.
        students: names of the students in the release.
        baselines: by student, the exported file of the same model trained on labels alone.
    """

    run: RunFolder
    name: str
    labels: LabelSet
    config: VerifyConfig
    students: Sequence[str]
    baselines: Mapping[str, ReleasedFile] = field(default_factory=dict)

    @property
    def models(self) -> list[ReleasedModel]:
        """The released models, the teacher first."""
        return [Release(self.run.release).model(model) for model in ("teacher", *self.students)]

    @property
    def files(self) -> list[ReleasedFile]:
        """Every file that is judged."""
        return [file for model in self.models for file in model.files()]

    @cached_property
    def manifest(self) -> Manifest:
        """That of the run."""
        return Manifest.read(self.run.manifest, self.labels)

    @property
    def ledger(self) -> Path:
        """Beside the run, because other runs may use the same test images."""
        return self.run.root.parent / LEDGER

    def trained(self, model: str) -> Path:
        """The folder that a model was trained in."""
        return self.run.teacher if model == TEACHER else self.run.student(model)

    def exported(self) -> list[ExportedModel]:
        """Records of the released models, and the diagnoses of their training."""
        notes = {model.name: read_notes(self.trained(model.name) / "metrics.json") for model in self.models}
        return read_exported(self.models, self.baselines, notes)

    def use(self, predictions: Predictions) -> Judged:
        """Name of the files that were measured, and of the test split, in the ledger."""
        judged = sorted(predictions.files[file.name].sha256 for file in self.files)
        return Judged(split=self.manifest.digest("test"), release=json_digest(judged))

    def judge(self, measured: Measurements, exported: Sequence[ExportedModel], look: Look) -> Certificate:
        """Judge what was measured."""
        return judge(self.name, measured, exported, self.config, look, manifest_of(self.run.release))


def verify(asked: Verification) -> Certificate:
    """Judge every exported file on the test split, and write ``verify/certificate.json`` and its copies.

    Raises:
        UserError: the release is not there or not as export left it, the test split can show nothing, or an exported
            file carries other labels.
    """
    run = asked.run
    models = asked.models
    # Before the hours of measuring: a release that is not whole, or a split that is too small, is refused at once.
    exported = asked.exported()
    require_exported(run, models)
    _require_decision(asked)
    require_test_images(asked.manifest, asked.config)
    measured = measure(run, asked.manifest, asked.files, list(asked.baselines.values()))
    # Before judging: a try counts as soon as anyone may see how it went.
    use = asked.use(measured.predictions)
    images = asked.manifest.labeled_rows("test").column("image_id")
    look = record_use(asked.ledger, images, use, asked.config.confidence)
    # Also where nothing changed: it takes an instant, and what is returned never comes from a file that was edited.
    certificate = asked.judge(measured, exported, look)
    for criterion in certificate.of(name="finite"):
        for uri in images_of(criterion.evidence, asked.manifest, make_key(run.verify / "key")):
            # Here only: the certificate is published, and names no image.
            log.print(f"{criterion.file} gives a score that is not a number for {shown(uri)}", soft_wrap=True)
    inputs: Inputs = {
        "certificate schema": SCHEMA,
        "images": Rows.of_images(asked.manifest, "test"),
        "look": look.number,
        "verify": asdict(asked.config),
        "files": certificate.files,
        "predictions": file_digest(run.verify / PREDICTIONS),
        "baselines": {name: measured.predictions.files[file.name].sha256 for name, file in asked.baselines.items()},
        "notes": {model.name: to_json(model.notes) for model in exported},
        "parity": [file_digest(path) for model in models for path in records(model)],
        # What is judged of all this: the same inputs in other words are another certificate to `push`.
        "certificate": certificate.digest,
    }
    with stage(run, "verify", inputs) as current:
        if not current.done:
            path = run.verify / CERTIFICATE
            certificate.write(path)
            copies = [folder / CERTIFICATE for model in models for folder in (model.checkpoint, model.onnx)]
            for copy in copies:
                with atomic_path(copy) as partial:
                    shutil.copyfile(path, partial)
            table = run.verify / TABLE
            write_table(table, measured.predictions, asked.manifest, make_key(run.verify / "key"))
            current.wrote([path, table, *copies])
    return certificate


def images_of(evidence: Evidence, rows: Manifest, key: bytes) -> list[str]:
    """URIs of the images that evidence names by the beginnings of their keyed digests."""
    named = evidence.images if isinstance(evidence, Finite) else ()
    if not named:
        return []
    digests = (keyed(key, image) for image in rows.column("image_id"))
    return [uri for uri, digest in zip(rows.column("uri"), digests, strict=True) if digest.startswith(named)]


def _require_decision(asked: Verification) -> None:
    """Refuse files that decide otherwise than the config asks for now: thresholds are fitted at export."""
    config = asked.config
    decision = asdict(DecisionConfig.of(config.decision, config.operating_points, asked.labels))
    for model in asked.models:
        if not had_input(asked.run, model.stage, "decision", decision):
            raise UserError(
                f"{model.name} was exported with another decision than verify.decision and verify.operating_points "
                "ask for now: run `pocketeva export` again"
            )


def require_test_images(manifest: Manifest, config: VerifyConfig) -> None:
    """Refuse a test split that can show nothing: too few images for any verdict, or none of a label."""
    test = manifest.labeled_rows("test")
    targets = test.targets()
    told = targets[test.labels.has_truth(targets)]
    groups = len(set(test.column("group")))
    if groups < _fewest(config):
        raise UserError(
            f"the test split has {plural(groups, 'image')} that differ: too few for any verdict. {_fewest(config):,} "
            "can show something; raise data.splits.test"
        )
    if not len(told):
        raise UserError(
            f"the votes of all {plural(len(test), 'test image')} tie, so none has a true label and nothing can be "
            "shown: have them decided by one more annotator"
        )
    truth = as_sets(DecisionRule.of(test.labels), test.labels.truth(told))
    counts = zip(test.labels.names, truth.sum(0), strict=True)
    absent = [name for name, count in counts if not count and name not in config.accept]
    if absent:
        raise UserError(
            f"the test split has no image of {', '.join(map(repr, absent))}, so nothing can be shown of "
            f"{'it' if len(absent) == 1 else 'them'}: add some, raise data.splits.test, or name it in verify.accept"
        )


def _fewest(config: VerifyConfig) -> int:
    """Images with which agreement can pass if all agree, or fail if none does."""
    confidence = confidence_of_look(1, config.confidence)
    return min(Promise(share, confidence).images for share in (config.agreement, 1 - config.agreement))


def doubts(asked: Verification, found: Certificate) -> list[str]:
    """Reasons why a certificate does not hold for the release, the predictions and the config as they are now.

    Everything is judged again, and some test images are run again through the released files.

    Raises:
        UserError: a file of the release or of the run is not there, or damaged.
    """
    run = asked.run
    manifest = asked.manifest
    require_exported(run, asked.models)
    _require_decision(asked)
    predictions = Predictions.read(run.verify / PREDICTIONS)
    measured_digests = {name: found.sha256 for name, found in predictions.files.items()}
    changed = [file.name for file in asked.files if measured_digests.get(file.name) != file.digest]
    wrong = [f"release/{name} has changed since it was measured" for name in changed]
    wrong += [*copy_differences(run), *prediction_differences(run, predictions, manifest)]
    if wrong:
        return wrong
    images = manifest.labeled_rows("test").column("image_id")
    look = Ledger.read(asked.ledger).look(images, asked.use(predictions), asked.config.confidence)
    if look is None:
        return [f"{quoted(asked.ledger)} does not know that this release was judged"]
    measured = Measurements(predictions, read_latencies(run.verify / LATENCIES))
    again = asked.judge(measured, asked.exported(), look)
    wrong = certificate_differences(found, again)
    for model in asked.models:
        own = asked.trained(model.name) / "model"
        wrong += [*onnx_contradictions(model.onnx, asked.labels)]
        wrong += [*checkpoint_contradictions(model.checkpoint, asked.labels, own)]
    # Running the files is the slow part: only where all else is as it should be.
    return wrong or score_differences(predictions, manifest, asked.files)
