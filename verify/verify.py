"""Stage 4: judge the exported files on the test split. From image bytes on, nothing here imports torch."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from data.decode import decode
from data.labels import LabelSet
from data.manifest import Manifest
from data.storage import read_bytes
from export.formats import converted_files
from export.formats.format import RAN
from export.release import FORMATS_FILE, ONNX_FILE, onnx_folder, open_onnx, shipped
from export.runtime import OnnxClassifier
from models.outputs import Decisions, choice, decisions
from run.console import progress
from run.errors import UserError
from run.files import Json, file_digest, write_json
from run.folder import RunFolder
from verify.config import VerifyConfig
from verify.latency import latency
from verify.metrics import against_baseline, agreement, by_label, closeness, majority, quality
from verify.statistics import Proportion, Verdict, judge, more_images


def verify(
    run: RunFolder,
    name: str,
    labels: LabelSet,
    config: VerifyConfig,
    students: Sequence[str],
    baselines: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Run every exported file over the test split and write ``verify/certificate.json`` and its copies.

    Args:
        run: holds the manifest and the release.
        name: of the run.
        labels: the run's label set.
        config: the targets.
        students: names of the students in the release.
        baselines: by student, the ONNX file of the same model trained on labels alone.

    Returns:
        The certificate.

    Raises:
        UserError: the release or the test split is not there, or an exported file carries other labels.
    """
    models, plain = ["teacher", *students], dict(baselines or {})
    files = _model_files(run.release, models)
    inputs: dict[str, Json] = {
        "images": Manifest.read(run.manifest, labels).digest("test"),
        "verify": asdict(config),
        "files": cast("Json", files),
        "baselines": {student: file_digest(path) for student, path in plain.items()},
        "parity": [file_digest(path) for model in models for path in _measured(run.release / onnx_folder(model))],
    }
    path = run.verify / "certificate.json"
    if not run.skips("verify", inputs):
        certificate = _certificate(run, name, labels, config, models, files, plain)
        write_json(path, certificate)
        copies = [run.release / onnx_folder(model) / path.name for model in models]
        for copy in copies:
            shutil.copyfile(path, copy)
        run.mark_done("verify", inputs, [path, *copies])
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _model_files(release: Path, models: Sequence[str]) -> dict[str, str]:
    """Digest of every model file in the release, those for other runtimes too, by its path there."""
    needed = [release / model / "model.safetensors" for model in models]
    needed += [release / onnx_folder(model) / ONNX_FILE for model in models]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise UserError(f"{', '.join(missing)} not there: run `pocketeva export` first")
    weights = [f"{model}/model.safetensors" for model in models]
    folders = [onnx_folder(model) for model in models]
    others = [(Path(folder) / path).as_posix() for folder in folders for path in converted_files(release / folder)]
    return {file: file_digest(release / file) for file in [*weights, *_exported_files(release, models), *others]}


def _measured(folder: Path) -> list[Path]:
    """What export wrote down of its own checks."""
    return [path for path in (folder / "parity.json", folder / FORMATS_FILE) if path.is_file()]


def _exported_files(release: Path, models: Sequence[str]) -> list[str]:
    """Every ONNX file of these models, each model's reference first, as paths below the release."""
    folders = [onnx_folder(model) for model in models]
    return [(Path(folder) / path).as_posix() for folder in folders for path in shipped(release / folder)]


def _certificate(
    run: RunFolder,
    name: str,
    labels: LabelSet,
    config: VerifyConfig,
    models: Sequence[str],
    files: dict[str, str],
    baselines: Mapping[str, Path],
) -> dict[str, Json]:
    everything = Manifest.read(run.manifest, labels).labeled_rows("test")
    test = _one_per_group(everything)
    truth = decisions(test.targets(), labels.kind)
    exported = {file: open_onnx(run.release / file) for file in _exported_files(run.release, models)}
    for file, classifier in exported.items():
        labels.require_equal(classifier.labels, f"release/{file}")
    plain = {f"baseline of {student}": OnnxClassifier(path) for student, path in baselines.items()}
    decided = _decide(test, {**exported, **plain})
    reference, *others = exported
    facts = {
        file: {
            "bytes": (run.release / file).stat().st_size,
            **quality(truth, decided[file], labels, config.confidence),
            **closeness(decided[reference], decided[file], labels, config.confidence),
            "latency_ms": latency(open_onnx(run.release / file, threads=1)),
        }
        for file in exported
    }
    compared: dict[str, dict[str, Json]] = {
        student: {
            "baseline": against_baseline(
                truth, decided[_reference(student)], decided[f"baseline of {student}"], config.confidence
            )
        }
        for student in baselines
    }
    criteria = [
        *(_agreement(file, agreement(decided[reference], decided[file]), labels, config) for file in others),
        *(_parity(run.release, model) for model in models),
        *(criterion for model in models for criterion in _conversions(run.release, model)),
    ]
    return {
        "format": 1,
        "verdict": overall([cast("Verdict", criterion["verdict"]) for criterion in criteria]),
        "name": name,
        "labels": labels.to_json(),
        "labels_digest": labels.digest,
        "test": {"images": len(everything), "groups": len(test), "majority": majority(truth, labels)},
        "criteria": cast("Json", criteria),
        "models": {
            model: {**_model_facts(run.release, model, truth, decided, facts, labels), **compared.get(model, {})}
            for model in models
        },
        "files": cast("Json", files),
    }


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """FAIL if anything fails, PASS if everything passes, else INCONCLUSIVE.

    Every criterion has to pass on its own, so no correction for their number is needed (an intersection-union test).
    """
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if all(verdict == "PASS" for verdict in verdicts) else "INCONCLUSIVE"


def _one_per_group(part: Manifest) -> Manifest:
    """The first image of every group of duplicates: exact bounds need independent draws."""
    first_of = {group: row for row, group in reversed(list(enumerate(part.column("group"))))}
    return Manifest(part.labels, part.table.take(sorted(first_of.values())))


def _decide(test: Manifest, exported: dict[str, OnnxClassifier]) -> dict[str, Decisions]:
    """What each file decides for every image, from its bytes; each image is decoded once."""
    uris, kind = test.column("uri"), test.labels.kind
    parts: dict[str, list[Decisions]] = {file: [] for file in exported}
    with progress("test images", len(uris)) as advance:
        for uri in uris:
            image = decode(read_bytes(uri))
            for file, classifier in exported.items():
                parts[file].append(decisions(classifier.probabilities([image]), kind))
            advance(1)
    return {file: cast("Decisions", np.concatenate(found)) for file, found in parts.items()}


def _agreement(file: str, found: Proportion, labels: LabelSet, config: VerifyConfig) -> dict[str, Json]:
    return {
        "name": "agreement",
        "model": file.split("/")[0].removesuffix("-onnx"),
        "file": file,
        "statement": f"this file's {choice(labels.kind)} is that of the exported teacher in float32",
        "n": found.n,
        "count": found.count,
        "rate": found.rate,
        "lower": found.lower(config.confidence),
        "upper": found.upper(config.confidence),
        "confidence": config.confidence,
        "target": config.agreement,
        "verdict": judge(found, config.agreement, config.confidence),
        "more_images": more_images(found, config.agreement, config.confidence),
    }


def _parity(release: Path, model: str) -> dict[str, Json]:
    """What export measured, if it measured this very file."""
    folder = release / onnx_folder(model)
    measured = json.loads((folder / "parity.json").read_text(encoding="utf-8"))[ONNX_FILE.as_posix()]
    same_file = measured["sha256"] == file_digest(folder / ONNX_FILE)
    return {
        "name": "parity",
        "model": model,
        "file": _reference(model),
        "statement": "largest difference of a probability between PyTorch and the exported file, on calibration images",
        "n": measured["n"],
        "largest": measured["largest"],
        "target": measured["target"],
        "verdict": "PASS" if same_file and measured["largest"] <= measured["target"] else "FAIL",
    }


def _conversions(release: Path, model: str) -> list[dict[str, Json]]:
    """Parity of each file for another runtime that export ran, if it ran these very files."""
    folder = release / onnx_folder(model)
    path = folder / FORMATS_FILE
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        {
            "name": "parity",
            "model": model,
            "file": f"{onnx_folder(model)}/{found['file']}",
            "statement": f"largest difference of a probability in {found['title']} from {content['compared_with']} in "
            "ONNX Runtime, on the golden images",
            "n": content["images"],
            "largest": found["largest"],
            "target": found["target"],
            "verdict": "PASS" if _are(folder, found["sha256"]) and found["largest"] <= found["target"] else "FAIL",
        }
        for found in content["formats"].values()
        if found["status"] == RAN
    ]


def _are(folder: Path, digests: Mapping[str, str]) -> bool:
    """Whether these very files are there."""
    return all((folder / path).is_file() and file_digest(folder / path) == digest for path, digest in digests.items())


def _reference(model: str) -> str:
    """The file that stands for a model, as a path below the release."""
    return (Path(onnx_folder(model)) / ONNX_FILE).as_posix()


def _model_facts(
    release: Path,
    model: str,
    truth: Decisions,
    decided: dict[str, Decisions],
    facts: dict[str, dict[str, Json]],
    labels: LabelSet,
) -> dict[str, Json]:
    """What is known of a model: of its reference file first, then of each of its files."""
    file = _reference(model)
    saved = json.loads((release / model / "config.json").read_text(encoding="utf-8"))["pocketeva"]
    return {
        "role": "teacher" if model == "teacher" else "student",
        "file": file,
        **facts[file],
        **by_label(truth, decided[file], labels),
        "temperature": saved["temperature"],
        "files": {path: found for path, found in facts.items() if path.startswith(f"{onnx_folder(model)}/")},
    }
