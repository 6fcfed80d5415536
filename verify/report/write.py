"""``verify/report.html``: written beside the certificate of a verified run. It stays on this machine."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.audit import Audit
from export.int8.result import Int8Result
from export.release import TEACHER
from fitting.history import read_histories
from run.files import file_digest, json_digest, write_text
from run.stage import Inputs, stage
from verify.certificate import Certificate
from verify.gallery import disagreements, thumbnail
from verify.predictions import PREDICTIONS, Predictions, make_key
from verify.report.content import Content, Picture
from verify.report.page import page
from verify.table import paths_of
from verify.verify import Verification

REPORT = "report.html"

LAYOUT = 1
"""Raised whenever the same content would make another page."""

MOST_PICTURES = 24
"""Of a student's disagreements with its teacher."""

_PACKAGES = ("pocketeva", "onnxruntime", "onnx", "torch", "timm", "pillow", "numpy")


def write_report(verified: Verification, certificate: Certificate, data: str) -> Path:
    """Write the page, if anything that it shows has changed; gives its path.

    Args:
        data: what the images and labels are, without naming a file.
    """
    run = verified.run
    path = run.verify / REPORT
    audit = run.data / "audit.json"
    found = {model.name: Int8Result.read_if_there(model.onnx) for model in verified.models}
    content = Content(
        certificate=certificate,
        predictions=Predictions.read(run.verify / PREDICTIONS),
        audit=Audit.read(audit) if audit.is_file() else None,
        curves={model.name: read_histories(verified.trained(model.name)) for model in verified.models},
        sweeps={name: sweep for name, sweep in found.items() if sweep is not None},
        provenance=_provenance(verified, certificate, data),
        pictures={},
    )
    inputs: Inputs = {
        "layout": LAYOUT,
        "certificate": json_digest(asdict(certificate)),
        "predictions": file_digest(run.verify / PREDICTIONS),
        "audit": _without_files(asdict(content.audit)) if content.audit else None,
        "curves": {
            model: {fit: [asdict(epoch) for epoch in epochs] for fit, epochs in fits.items()}
            for model, fits in content.curves.items()
        },
        "sweeps": {model: sweep.to_json() for model, sweep in content.sweeps.items()},
        "provenance": [list(row) for row in content.provenance],
        "thumbnails": verified.config.thumbnails,
    }
    with stage(run, "report", inputs) as current:
        if not current.done:
            # Only now: images are read for it.
            pictures = _pictures(verified, content.predictions) if verified.config.thumbnails else {}
            write_text(path, page(replace(content, pictures=pictures)))
            current.wrote([path])
    return path


def _without_files(audit: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the audit that the page shows: images that moved to another folder change nothing."""
    return {
        key: _without_files(value) if isinstance(value, Mapping) else value
        for key, value in audit.items()
        if key not in ("examples", "most")
    }


def _provenance(verified: Verification, certificate: Certificate, data: str) -> Sequence[tuple[str, str]]:
    look = certificate.look
    return [
        ("run", certificate.name),
        ("data", data),
        ("digest of the test split", verified.manifest.digest("test")),
        ("digest of the labels", certificate.labels_digest),
        ("schema of the certificate", str(certificate.format)),
        ("releases judged on these test images so far", str(look.number)),
        ("confidence of each criterion", f"{look.confidence:.2%} (asked for: {certificate.confidence:.0%})"),
        ("confidence for all criteria to hold together", f"{certificate.confidence_together:.2%} each"),
        ("profile", certificate.profile),
        *((f"version of {name}", found) for name, found in _versions().items()),
    ]


def _versions() -> Mapping[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _pictures(verified: Verification, predictions: Predictions) -> dict[str, list[Picture]]:
    """The worst disagreements of each student; of a file nothing but its pixels."""
    test = predictions.split("test").one_per_group()
    uris = paths_of(test, verified.manifest, make_key(verified.run.verify / "key"))
    files = {model.name: model.reference.name for model in verified.models}
    return {
        name: [
            Picture(source=source, lines=card.lines)
            for card in disagreements(name, files, test, uris).cards[:MOST_PICTURES]
            if (source := thumbnail(card.uri)) is not None
        ]
        for name in files
        if name != TEACHER
    }
