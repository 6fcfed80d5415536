import subprocess
import sys
from pathlib import Path

import pytest

import pocketeva
from export.config import ExportConfig
from export.formats import FORMATS, require_installed
from export.libraries import first_line
from run.errors import UserError
from tests import finished, support
from tests.export.formats.test_check import without


def test_formats__each_lies_in_a_folder_of_its_name() -> None:
    assert {name: form.path.parts[0] for name, form in FORMATS.items()} == {name: name for name in FORMATS}


def test_formats__are_known_without_importing_them() -> None:
    packages = {form.package for form in FORMATS.values()} | {"torch"}
    script = f"import sys, export.formats.check; sys.exit(len({packages!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], timeout=300).returncode == 0


def test_require_installed__names_key_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    require_installed(["openvino", "executorch", "coreml"])
    without(monkeypatch, "openvino", "coremltools")
    require_installed(["executorch"])
    with pytest.raises(UserError) as refused:
        require_installed(["openvino", "executorch", "coreml"])
    said = str(refused.value)
    assert said.startswith("export.formats asks for openvino, coreml, and openvino, coremltools are not installed: ")
    assert "`pip install -e '.[openvino,coreml]'`" in said


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Cannot open /home/someone/run/.partial-openvino/model.xml: no\nmore", "Cannot open model.xml: no"),
        ("Check '1 / 2' failed at src/core/model.cpp:12", "Check '1 / 2' failed at src/core/model.cpp:12"),
        ("", "RuntimeError"),
    ],
)
def test_first_line__says_nothing_of_this_machines_folders(said: str, kept: str) -> None:
    assert first_line(RuntimeError(said)) == kept


@pytest.mark.parametrize("verb", ["prepare", "train", "distill", "export", "run"])
def test_main__a_package_that_is_missing_is_missed_before_any_work(
    finished_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    without(monkeypatch, "executorch")
    before = support.files_below(root)
    capsys.readouterr()
    assert pocketeva.main([verb, "config.yaml", "--export.formats=[executorch]"]) == 2
    said = capsys.readouterr().err
    assert f"pocketeva {verb}: export.formats asks for executorch, and executorch is not installed" in said
    assert support.files_below(root) == before


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ("[tflite]", r"export\.formats"),
        ("openvino", r"export\.formats"),
        (
            "[openvino, openvino]",
            r"export\.formats is \[\"openvino\", \"openvino\"\]; it must be free of repeated names",
        ),
    ],
)
def test_config__formats_that_are_wrong(tmp_path: Path, formats: str, message: str) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    with pytest.raises(UserError, match=message):
        pocketeva.read_config(path, [f"--export.formats={formats}"])


def test_config__formats(tmp_path: Path) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    assert pocketeva.read_config(path).export.formats == ExportConfig().formats == []
    assert pocketeva.read_config(path, ["--export.formats=[coreml, openvino]"]).export.formats == ["coreml", "openvino"]
