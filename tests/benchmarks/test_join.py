import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.join import main

DATA = {
    "seconds": 60.0,
    "teacher": {"model": "large", "accuracy": 0.7, "seconds": 9.0},
    "student": "small",
    "size": 64,
    "labeled_images": 10,
    "unlabeled_images": 20,
    "test_images": 30,
}


def write_run(path: Path, first_seed: int, scores: dict[str, list[float]], **changes: Any) -> str:
    """What ``benchmarks.quality`` prints, as far as it is read."""
    of_arms = {arm: [{"accuracy": one, "agreement": one / 2} for one in found] for arm, found in scores.items()}
    data = {"kinds": {**DATA, **changes, "scores": of_arms}}
    run = {"first_seed": first_seed, "views": 4, "clock": "processor", "machine": "one", "data": data}
    path.write_text(f"something before\n{json.dumps(run)}\n", encoding="utf-8")
    return str(path)


def joined(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["join", *arguments])
    main()
    return dict(json.loads(capsys.readouterr().out)["arms"])


def test_join__differences_are_paired_by_seed_and_with_a_base_of_the_same_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        write_run(tmp_path / "a.json", 0, {"ours": [0.50], "labels": [0.40]}),
        write_run(tmp_path / "b.json", 1, {"ours": [0.60, 0.64], "labels": [0.46, 0.54]}),
        write_run(tmp_path / "c.json", 0, {"ours": [0.52, 0.58, 0.66], "noisy": [0.53, 0.60, 0.69]}),
        write_run(tmp_path / "d.json", 2, {"late": [0.70]}, teacher={**DATA["teacher"], "seconds": 1.0}),  # type: ignore[dict-item]
    ]
    found = joined(capsys, monkeypatch, *files, "--base", "kinds: ours")
    assert found["kinds: ours"]["accuracy"]["mean"] == pytest.approx(0.58)
    ahead = {arm.split(": ")[1]: figures.get("accuracy, ahead of the base") for arm, figures in found.items()}
    assert ahead["ours"] is None
    assert ahead["labels"]["mean"] == pytest.approx(-0.34 / 3)
    assert ahead["noisy"]["mean"] == pytest.approx(0.02), "with its own run's base"
    assert ahead["noisy"]["plus_minus"] == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-3)
    assert ahead["late"] == {"mean": pytest.approx(0.06), "plus_minus": None}


def test_join__runs_that_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_run(tmp_path / "a.json", 0, {"ours": [0.5], "labels": [0.4]})
    longer = write_run(tmp_path / "b.json", 1, {"ours": [0.5]}, seconds=90.0)
    with pytest.raises(SystemExit, match="kinds: these runs are not alike"):
        joined(capsys, monkeypatch, first, longer)
    with pytest.raises(SystemExit, match="kinds: labels: two runs have seed 0"):
        joined(capsys, monkeypatch, first, first, "--base", "kinds: ours")
