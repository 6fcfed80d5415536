import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.formats import FORMATS
from export.formats.check import golden_rows
from export.formats.run import ConvertedClassifier
from export.golden.check import STEPS, check_golden, show_golden
from run.errors import UserError
from tests import support
from tests.export.formats.conftest import Made


@pytest.fixture
def release(made: Made, tmp_path: Path) -> Path:
    """A release with all formats, of one's own."""
    return Path(shutil.copytree(made.folder, tmp_path / made.folder.name))


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As on a machine where these are not installed."""
    monkeypatch.setattr("export.formats.find_spec", lambda name: None if name in packages else object())


def test_check_golden__runs_every_file_that_has_a_runtime(release: Path) -> None:
    rows = check_golden(release)
    assert {row.step for row in rows} == {*STEPS, "openvino", "executorch"}
    assert all(row.passed for row in rows)
    for name in ("openvino", "executorch"):
        own = [row for row in rows if row.step == name]
        assert len(own) == 13
        assert max(row.difference for row in own) > 0


@pytest.mark.parametrize("name", ["openvino", "executorch"])
def test_check_golden__another_models_file(release: Path, name: str) -> None:
    """The right kind of file with other weights in it."""
    path = release / ("openvino/model.bin" if name == "openvino" else "executorch/model.pte")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.full(1000, 0.5, np.float32).tobytes()
    path.write_bytes(data)
    assert {row.step for row in check_golden(release) if not row.passed} == {name}


def test_open__a_file_with_other_labels_than_its_record_or_kit(release: Path) -> None:
    """A stranger's ``formats.json`` may say anything, and so may its kit."""
    labels = ["a", "b", "c", "d", "e", "f", "g"]
    for name in ("formats.json", "golden/index.json"):
        path = release / name
        content = json.loads(path.read_text(encoding="utf-8"))
        content["labels"]["names"] = labels
        for entry in content.get("images", []) if name != "formats.json" else []:
            entry.update(logits=[0.0] * 7, probabilities=[1 / 7] * 7, scores=[0.5] * 7, decision=["a"])
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.xml gives \(\d+,\) logits, and formats\.json beside it has 7 labels"):
        ConvertedClassifier(release / "openvino" / "model.xml", "openvino").probabilities([support.picture()])
    with pytest.raises(UserError, match=r"model\.xml gives logits \[13, \d+\] where the golden kit has \[13, 7\]"):
        golden_rows(release)


def test_check_golden__a_file_that_does_not_open(release: Path) -> None:
    (release / "openvino" / "model.xml").write_text("<net>")
    with pytest.raises(UserError, match=r"model\.xml cannot be run by OpenVINO: "):
        check_golden(release)


def test_show_golden__says_what_was_not_run(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "openvino")
    assert show_golden(release)
    said = capsys.readouterr().out
    assert "executorch" in said.splitlines()[0] + said.splitlines()[1]
    assert "openvino/model.xml was not run: openvino is not installed: " in said
    assert "pip install -e '.[openvino]'" in said
    assert "coreml/model.mlpackage was not run: Core ML is not to be had on Linux" in said


def test_show_golden__a_format_that_fails(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shifted = replace(FORMATS["openvino"], load=lambda _: lambda pixels: np.ones((len(pixels), 4), np.float32))
    monkeypatch.setattr("export.formats.check.FORMATS", {"openvino": shifted})
    assert not show_golden(release)
    assert "13 of 78 steps differ; the first to look at: openvino of gradient" in capsys.readouterr().out


def test_check_golden__a_release_without_formats(plain: Made) -> None:
    assert {row.step for row in check_golden(plain.folder)} == set(STEPS)
