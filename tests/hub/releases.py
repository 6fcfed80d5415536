"""Small real releases with certificates, and a way to run code against the fake hub."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data.labels import LabelSet
from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.files import file_digest, write_json
from run.folder import RunFolder
from tests import support
from tests.hub.fake_hub import TOKEN, FakeHub

LABELS = LabelSet(("fine", "worn | torn", "broken"), "ordinal")
STUDENT = "mini"
SIZE = 64


def write_release(root: Path, labels: LabelSet = LABELS) -> RunFolder:
    """A run with a release and a passing certificate; teacher and student share weights, not the resize mode."""
    run = RunFolder(root)
    student = support.tiny("test_efficientnet", labels, SIZE)
    with torch.no_grad():
        student.head.weight.mul_(40)  # so that what the model is shown makes a difference
    student = replace(student, spec=student.spec.squashed())
    teacher = replace(student, spec=replace(student.spec, mode="center", crop_pct=0.9))
    onnx_file = root / "model.onnx"
    onnx_file.parent.mkdir(parents=True, exist_ok=True)
    _export(student, onnx_file)
    for name, model in (("teacher", teacher), (STUDENT, student)):
        facts = CheckpointFacts(labels=labels, base_model="test_efficientnet", temperature=1.25)
        checkpoint.save(model, run.release / name, facts)
        folder = run.release / f"{name}-onnx"
        (folder / "onnx").mkdir(parents=True)
        shutil.copyfile(onnx_file, folder / "onnx" / "model.onnx")
        write_json(folder / "labels.json", labels.to_json())
        write_json(folder / "config.json", {"model_type": "vit"})
    onnx_file.unlink()
    write_certificate(run, certificate(run, labels=labels))
    return run


def _export(classifier: Classifier, path: Path) -> None:
    example = torch.zeros(2, 3, SIZE, SIZE)
    torch.onnx.export(
        classifier.model,
        (example,),
        path,
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )


def write_certificate(run: RunFolder, content: dict[str, Any]) -> None:
    """Where verify leaves it."""
    write_json(run.verify / "certificate.json", content)


def certificate(run: RunFolder, verdict: str = "PASS", labels: LabelSet = LABELS) -> dict[str, Any]:
    """A certificate for the model files of the release, as they are now."""
    models = [path for path in sorted(run.release.rglob("*")) if path.suffix in (".onnx", ".safetensors")]
    parity = {"name": "parity", "statement": "largest difference of a probability", "n": 40, "verdict": "PASS"}
    agreement = {
        "name": "agreement",
        "model": STUDENT,
        "file": f"{STUDENT}-onnx/onnx/model.onnx",
        "statement": "the student's first choice is the teacher's",
    }
    return {
        "format": 1,
        "verdict": verdict,
        "name": "panels",
        "labels": labels.to_json(),
        "labels_digest": labels.digest,
        "test": {"images": 210, "groups": 200, "majority": {**_answer(labels), "count": 120, "n": 200, "rate": 0.6}},
        "criteria": [
            {**agreement, **_proportion(190), "target": 0.9, "verdict": verdict, "more_images": 1234},
            *(
                {**parity, "model": name, "file": f"{name}-onnx/onnx/model.onnx", "largest": 2e-6, "target": 1e-4}
                for name in ("teacher", STUDENT)
            ),
        ],
        "models": {"teacher": _measured("teacher", 184, labels), STUDENT: _measured(STUDENT, 177, labels)},
        "files": {path.relative_to(run.release).as_posix(): file_digest(path) for path in models},
    }


def _proportion(count: int) -> dict[str, Any]:
    rate = count / 200
    return {"n": 200, "count": count, "rate": rate, "lower": rate - 0.03, "upper": rate + 0.02, "confidence": 0.95}


def _answer(labels: LabelSet) -> dict[str, Any]:
    return {"labels": list(labels.names[:2])} if labels.kind == "multilabel" else {"label": "fine"}


def _by_kind(labels: LabelSet) -> dict[str, Any]:
    undefined: dict[str, Any] = {"n": 0, "precision": None, "recall": None, "f1": None}
    known: dict[str, Any] = {"n": 100, "precision": 0.91, "recall": 0.87, "f1": 0.89}
    if labels.kind == "multilabel":
        undefined |= {"n": 200, "positives": 0, "confusion": [200, 0, 0, 0]}
        known |= {"n": 200, "positives": 100, "confusion": [91, 9, 13, 87]}
    rows = [{"label": label, **(undefined if label == "broken" else known)} for label in labels.names]
    if labels.kind == "multilabel":
        return {"per_class": rows}
    calls = {"1": _proportion(13), "2": _proportion(8)}
    ordinal = {"quadratic_kappa": 0.8765, "mean_absolute_error": 0.125, "under_call": calls, "over_call": calls}
    return {"per_class": rows, "confusion": [[87, 13, 0], [9, 91, 0], [0, 0, 0]], "ordinal": ordinal}


def _measured(name: str, correct: int, labels: LabelSet) -> dict[str, Any]:
    file = f"{name}-onnx/onnx/model.onnx"
    found = {"accuracy": _proportion(correct), "agreement": _proportion(190), "bytes": 1_500_000}
    return {
        "files": {file: {**found, "latency_ms": {"p50": 1.23, "p95": 2.34, "threads": 1}}},
        "role": "teacher" if name == "teacher" else "student",
        "file": file,
        "bytes": 1_500_000,
        "accuracy": _proportion(correct),
        "macro_f1": 0.7654321,
        **_by_kind(labels),
        "latency_ms": {"p50": 1.23, "p95": 2.34, "threads": 1},
        "temperature": 1.25,
    }


def python_blocks(card: str) -> list[str]:
    """The Python code in a card."""
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def run_python(code: str, hub: FakeHub, folder: Path, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, in which the Hub's client was imported with the fake hub as its endpoint."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "no_proxy": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)


def last_json(result: subprocess.CompletedProcess[str]) -> Any:
    """What a successful process printed last."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
