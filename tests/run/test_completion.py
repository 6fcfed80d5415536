import shutil
import subprocess
from pathlib import Path

import pytest

import pocketeva
from run.console import console

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "pocketeva"
    with console.capture() as capture:
        assert pocketeva.main(["completion"]) == 0
    path.write_text(capture.get())
    return path


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pre"], ["prepare", "predict"]),
        (["--v"], ["--version"]),
        (["run", ""], []),
        (["run", "x.yaml", "--teacher.full.l"], ["--teacher.full.lr"]),
        (["run", "x.yaml", "--students[0].fit.l"], ["--students[0].fit.lr"]),
        (["run", "x.yaml", "--ou"], ["--output"]),
        (["cache", "ch"], ["check"]),
        (["push", "x.yaml", "--dr"], ["--dry-run"]),
        (["predict", "release", "--teacher"], []),
    ],
)
def test_completion_script__in_bash(script: Path, words: list[str], expected: list[str]) -> None:
    code = (
        'source "$1"; shift; COMP_WORDS=(pocketeva "$@"); COMP_CWORD=$#; _pocketeva; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert BASH is not None
    said = subprocess.run([BASH, "-c", code, "bash", script, *words], capture_output=True, text=True, check=True)
    assert said.stdout.split() == expected
    assert said.stderr == ""
