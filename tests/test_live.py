"""Runs from the command line whose students have a live teacher."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import pocketeva
from tests import finished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "student", "live"),
    [(1, {"live": 1.0}, 120), (2, {"live": 0.5, "mixup": 0.2}, 60)],
    ids=["live", "mixed"],
)
def test_run__passes_with_a_live_teacher(
    finished_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
    student: dict[str, Any],
    live: int,
) -> None:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["views"] = {"count": count}
    config["students"][0] |= {**student, "baseline": True}
    config["students"][0]["fit"]["epochs"] = 2
    if count == 1:  # both models are exported anew; else the teacher's files, all of them, are there already
        config["export"] = finished.FP32_ALONE
    finished.write_config(root, config)
    assert pocketeva.main(["run", "config.yaml"]) in (0, 3)  # two epochs teach too little to pass
    said = capsys.readouterr()
    assert "trained on labels alone: " in said.out
    assert ("train: done already" in said.err) == (count == 2), "its head has learned from the same views"

    students = root / "outputs" / config["name"] / "students"
    counts = {
        path.parent.name: json.loads(path.read_text())["teacher_passes"]["live"]
        for path in students.glob("*/metrics.json")
    }
    assert counts == {"mini": live, "mini-baseline": 0}
    assert pocketeva.main(["run", "config.yaml"]) in (0, 3)
    assert "again, because" not in capsys.readouterr().err
