"""A student beside the same one trained on labels alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import pocketeva
from tests import finished
from verify.certificate import Certificate


@pytest.mark.slow
def test_baseline__is_trained_judged_and_not_released(
    finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    config: dict[str, Any] = yaml.safe_load((root / "config.yaml").read_text())
    name = config["students"][0]["name"]
    config["students"][0]["baseline"] = True
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    assert pocketeva.main(["run", "config.yaml"]) == 0
    printed = capsys.readouterr()
    assert "train: done already" in printed.err
    assert "trained on labels alone: " in printed.out

    run = root / "outputs" / config["name"]
    certificate = Certificate.read(run / "verify" / "certificate.json")
    assert set(certificate.models) == {"teacher", name}
    student, baseline = certificate.models[name].reference, certificate.models[name].baseline
    assert baseline is not None
    assert baseline.gain.gained - baseline.gain.lost == student.accuracy.count - baseline.accuracy.count
    assert baseline.gain.n == student.accuracy.n == baseline.accuracy.n
    assert not [path for path in (run / "release").rglob("*") if "baseline" in path.name]

    plainly = json.loads((run / "students" / f"{name}-baseline" / "metrics.json").read_text())
    distilled = json.loads((run / "students" / name / "metrics.json").read_text())
    assert plainly["fit"]["epochs"] == distilled["fit"]["epochs"]
    assert "val_agreement" not in plainly["fit"]

    assert pocketeva.main(["run", "config.yaml"]) == 0
    said = capsys.readouterr().err
    for stage in ("distill", "export"):
        assert f"{stage}-{name}-baseline: done already" in said


def test_config__a_student_may_not_be_named_like_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = finished.settings()
    first = config["students"][0]
    config["students"] = [{**first, "baseline": True}, {**first, "name": f"{first['name']}-baseline"}]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert pocketeva.main(["prepare", "config.yaml"]) == 2
    assert (
        "students[1].name is mini-baseline; it must be another name: a baseline has this one" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("kind", "loss", "names", "message"),
    [
        (
            "multilabel",
            "dist",
            4,
            "students[0].loss is dist; it must be one of kl, labels where labels are multilabel",
        ),
        ("nominal", "dkd", 2, "students[0].loss is dkd; it must be another one for two labels"),
        ("nominal", "mse", 4, "students[0].loss is mse; it must be one of kl, standardized_kl, dist, dkd or labels"),
    ],
)
def test_config__losses_that_do_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    loss: str,
    names: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = finished.settings()
    config["labels"] = {"names": config["labels"]["names"][:names], "kind": kind}
    config["students"][0]["loss"] = loss
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert pocketeva.main(["prepare", "config.yaml"]) == 2
    assert message in capsys.readouterr().err
