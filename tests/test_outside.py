"""A run talks to nobody and leaves nothing outside its folders, whatever the libraries would do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import finished
from tests.test_imports import REPOSITORY

WRITING = re.compile(r"\b(?:openat|open|mkdir|mkdirat|rename|renameat2?|creat)\((.*)")
QUIET = ("/dev/", "/proc/")

# A process of any of our modules: the switches have to be set by whichever import comes first.
IMPORTS = """
import importlib, os, sys
from importlib.abc import MetaPathFinder
class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("onnxruntime", "openvino", "wandb", "huggingface_hub"):
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", name
            assert "openvino_telemetry" in sys.modules, name
        return None
sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
import onnxruntime
"""


@pytest.mark.parametrize("module", ["export", "verify.measure", "benchmarks"])
def test_import__switches_are_set_before_the_library_that_reads_them(module: str) -> None:
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    command = [sys.executable, "-c", IMPORTS, module]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_run__no_name_is_looked_up_and_no_file_is_written_outside(tmp_path: Path) -> None:
    """``run`` with a format for another runtime, then ``predict``, under strace where it is there."""
    root = tmp_path / "work"
    root.mkdir()
    finished.write_images(root)
    config = finished.settings()
    config["export"] = {"int8": {"mode": "none"}, "formats": ["openvino"]}
    finished.write_config(root, config)
    trace = tmp_path / "trace"
    program = str(REPOSITORY / "pocketeva.py")
    release = root / "outputs" / "quick" / "release" / "mini-onnx"
    for arguments in (["run", "config.yaml"], ["predict", str(release), "images", "--json"]):
        _watched(root, tmp_path, trace, [sys.executable, "-P", program, *arguments])
    assert (release / "openvino" / "model.xml").is_file()
    assert sorted((tmp_path / "home").rglob("*")) == []
    if trace.is_file():
        calls = trace.read_text(encoding="utf-8", errors="replace").splitlines()
        assert any('"outputs/quick' in call for call in calls), "the test sees nothing"
        assert [call for call in calls if _reaches_out(call) or _writes_outside(call, tmp_path)] == []


def _watched(root: Path, place: Path, trace: Path, command: list[str]) -> None:
    """Run a command in ``root`` with a Python resolver that fails, and a home and a temporary folder of its own."""
    for name in ("home", "tmp", "site"):
        (place / name).mkdir(exist_ok=True)
    (place / "site" / "sitecustomize.py").write_text(
        "import sys\n"
        "def watch(event, details):\n"
        "    if event in ('socket.getaddrinfo', 'socket.gethostbyname') and details[0] not in ('127.0.0.1', None):\n"
        "        raise AssertionError(f'{details[0]} is looked up')\n"
        "sys.addaudithook(watch)\n"
    )
    hidden = ("TELEMETRY", "OFFLINE", "XDG_", "MPL")
    environment = {name: value for name, value in os.environ.items() if not any(word in name for word in hidden)}
    environment |= {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(place / "site")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    strace = shutil.which("strace")
    calls = "trace=connect,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
    watched = [strace, "-f", "--seccomp-bpf", "-qq", "-A", "-o", str(trace), "-e", calls] if strace else []
    result = subprocess.run(
        [*watched, *command], cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr


def _reaches_out(call: str) -> bool:
    """True for what a look-up of a name starts with, and for a connection to another machine."""
    if "/etc/resolv.conf" in call or "sin_port=htons(53)" in call:
        return True
    return "connect(" in call and "AF_INET" in call and "127.0.0.1" not in call and "AF_UNSPEC" not in call


def _writes_outside(call: str, place: Path) -> bool:
    found = WRITING.search(call)
    if found is None or ("open" in call and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", call)) or " = -1 " in call:
        return False
    paths = re.findall(r'"(/[^"]*)"', found[1])
    return any(not path.startswith((str(place), *QUIET)) for path in paths)
