"""What is wrong is said before the packages that train are imported: those take seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = str(REPOSITORY / "configs" / "demo.yaml")
HEAVY = ("datasets", "huggingface_hub", "onnx", "pyarrow", "pytorch_lightning", "scipy", "timm", "torch")

CODE = f"""
import contextlib, io, json, sys, pocketeva

said = []
for arguments in json.loads(sys.argv[1]):
    caught = io.StringIO()
    pocketeva.log.file = caught
    with contextlib.redirect_stdout(caught):
        try:
            code = pocketeva.main(arguments)
        except SystemExit as stop:
            code = stop.code
    said.append([code, caught.getvalue()])
print(json.dumps([said, sorted(set(sys.modules) & set({HEAVY!r}))]))
"""

REFUSED = {
    "a key": (["train", DEMO, "--teacher.modell", "x"], "there is no key teacher.modell; did you mean teacher.model?"),
    "a file": (["run", "nothing.yaml"], "nothing.yaml does not exist"),
    "a model": (["prepare", DEMO, "--students[0].model", "mobilenetv4_conv_smal"], "near: mobilenetv4_conv_small"),
    "train": (["train", DEMO], "manifest.parquet does not exist: run `pocketeva prepare` first"),
    "distill": (["distill", DEMO], "manifest.parquet does not exist: run `pocketeva prepare` first"),
    "cache": (["cache", "build", DEMO], "manifest.parquet does not exist: run `pocketeva prepare` first"),
    "export": (["export", DEMO, "--name", "begun"], "begun/teacher/model does not exist: run `pocketeva train` first"),
    "verify": (["verify", DEMO], "release does not exist: run `pocketeva export` first"),
    "push": (["push", DEMO], "release does not exist: run `pocketeva export` first"),
    "predict": (["predict", "nothing", "x.png"], "nothing does not exist: give a release folder"),
    "check-golden": (["check-golden", "nothing"], "index.json does not exist: give a release folder"),
    "images": (
        ["prepare", DEMO, "--data.format", "auto", "--data.path", "nowhere", "--name", "begun"],
        "data.path: there is no file or folder ",
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and message of each, from one process that has imported nothing that trains."""
    folder = tmp_path_factory.mktemp("refused")
    manifest = folder / "outputs" / "begun" / "data" / "manifest.parquet"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    every = [["--help"], *(arguments for arguments, _ in REFUSED.values())]
    command = [sys.executable, "-c", CODE, json.dumps(every)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    (shown, *refused), heavy = json.loads(result.stdout)
    assert heavy == ["pyarrow"], "and that only by the last: a manifest is Parquet"
    assert shown[0] == 0
    assert [path.name for path in (folder / "outputs").iterdir()] == ["begun"], "nothing is begun"
    return {name: (code, text) for name, (code, text) in zip(REFUSED, refused, strict=True)}


@pytest.mark.parametrize("name", REFUSED)
def test_main__refuses_without_importing_what_trains(said: dict[str, tuple[int, str]], name: str) -> None:
    code, text = said[name]
    assert code == 2
    assert REFUSED[name][1] in text
    assert text.startswith("pocketeva ")
