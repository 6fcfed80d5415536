"""The program in a folder of the user's that has modules with the names of our rooms."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import finished
from tests.test_imports import ROOMS

REPOSITORY = Path(__file__).resolve().parents[1]
NAMES = [room for room in ROOMS if room != "pocketeva"]


@pytest.fixture
def folder(finished_root: Path, tmp_path: Path) -> Path:
    """A working folder in which nothing is done, with a module or package for each of our rooms that must not run."""
    root = tmp_path / "work"
    shutil.copytree(finished_root, root, ignore=shutil.ignore_patterns("outputs"))
    for index, name in enumerate(NAMES):
        path = root / f"{name}.py" if index % 2 else root / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise SystemExit('the {name} of the user was imported')\n")
    return root


def python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def test_folder__shadows_what_is_not_protected(folder: Path) -> None:
    """The other tests show something: from this folder, plain Python imports the user's modules."""
    for name in NAMES:
        assert f"the {name} of the user" in python(folder, "-c", f"import {name}").stderr


@pytest.mark.parametrize("environment", [{}, {"PYTHONPATH": "."}, {"PYTHONPATH": str(REPOSITORY)}])
def test_main__help(folder: Path, environment: dict[str, str]) -> None:
    script = Path(sys.executable).parent / "pocketeva"
    for arguments in (["-m", "pocketeva"], [str(script)]):
        result = python(folder, *arguments, "--help", **environment)
        assert (result.returncode, result.stderr) == (0, "")
        assert "check-golden" in result.stdout


def test_import__a_process_that_is_spawned_finds_our_rooms(folder: Path) -> None:
    code = (
        "import multiprocessing, pocketeva\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        f"    print(*[pool.apply(eval, (f'__import__({{name!r}}).__file__',)) for name in {NAMES!r}])\n"
    )
    result = python(folder, "-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(REPOSITORY / name / "__init__.py") for name in NAMES]


@pytest.mark.slow
def test_main__prepares_and_starts_two_processes(folder: Path) -> None:
    config = finished.settings()
    config["trainer"]["devices"] = 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = python(folder, "-m", "pocketeva", "prepare", "config.yaml")
    assert result.returncode == 0, result.stderr
    assert (folder / "outputs" / "quick" / "data" / "manifest.parquet").is_file()
    result = python(folder, "-m", "pocketeva", "train", "config.yaml")
    assert result.returncode == 0, result.stderr
    assert (folder / "outputs" / "quick" / "teacher" / "model" / "model.safetensors").is_file()
