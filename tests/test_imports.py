import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = (
    "run",
    "data",
    "models",
    "cache",
    "fitting",
    "train",
    "distill",
    "export",
    "verify",
    "hub",
    "start",
    "verbs",
    "pocketeva",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where a process in another folder imports each room from."""
    code = f"""
import importlib, json
print(json.dumps({{name: importlib.import_module(name).__file__ for name in {ROOMS!r}}}))
"""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms__import_from_this_repository(places: dict[str, str], room: str) -> None:
    file = f"{room}.py" if room == "pocketeva" else f"{room}/__init__.py"
    assert Path(places[room]).resolve() == REPOSITORY / file


def test_pocketeva__starts_without_torch() -> None:
    code = "import sys, pocketeva; assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
