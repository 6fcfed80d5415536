"""What `pip install .` brings is enough to run a release, and nothing on that way needs Linux or macOS."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]

POSIX_ONLY = ("fcntl", "grp", "pwd", "resource", "termios")

BLOCKED = """
import os, sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
for name in {blocked}:
    sys.modules.pop(name, None)
for name in ("O_CLOEXEC", "O_NONBLOCK", "getuid"):  # nor has Windows these
    delattr(os, name)
import pocketeva
sys.exit(pocketeva.main(sys.argv[1:]))
"""


def modules_of(requirements: list[str]) -> set[str]:
    wanted = {Requirement(one).name.lower() for one in requirements}
    named = packages_distributions().items()
    return {module for module, owners in named if wanted & {owner.lower() for owner in owners}}


@pytest.fixture(scope="module")
def blocked() -> set[str]:
    """Modules that a plain install on Windows does not have."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    modules = modules_of([one for packages in extras.values() for one in packages])
    assert {"torch", "timm", "pytorch_lightning", "datasets", "onnx", "scipy"} <= modules
    return (modules | set(POSIX_ONLY)) - modules_of(project["dependencies"])


def run(blocked: set[str], folder: Path, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED.format(blocked=sorted(blocked)), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300)


def test_plain_install__predicts(released: Path, blocked: set[str], tmp_path: Path) -> None:
    images = sorted((released / "golden").glob("*.rgb.png"))
    for model in (released, released / "rgb.onnx"):
        result = run(blocked, tmp_path, "predict", model, *images, "--json")
        assert result.returncode == 0, result.stderr
        assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == list(map(str, images))


def test_plain_install__checks_the_golden_kit(released: Path, blocked: set[str], tmp_path: Path) -> None:
    result = run(blocked, tmp_path, "check-golden", released)
    assert result.returncode == 0, result.stderr
    assert "steps give what they gave at export" in result.stdout


def test_plain_install__says_what_training_needs(blocked: set[str], tmp_path: Path) -> None:
    result = run(blocked, tmp_path, "run", REPOSITORY / "configs" / "demo.yaml")
    assert result.returncode == 2
    assert "is not installed: in PocketEVA's folder run `pip install '.[train]'`" in result.stderr
    assert "Traceback" not in result.stderr


def test_plain_install__inspects_a_release(released: Path, blocked: set[str], tmp_path: Path) -> None:
    result = run(blocked, tmp_path, "inspect", released, "--json")
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)["models"]
    assert found["labels"] == ["sound", "doubtful", "likely", "broken"]
    assert found["latency"]["ms"] > 0
    assert (found["macs"], found["macs_counted"]) == (None, "the package onnx counts them: pip install '.[train]'")
    named = run(blocked, tmp_path, "inspect", "mobilenetv4_conv_small")
    assert named.returncode == 2
    assert "the package timm is not installed" in named.stderr
