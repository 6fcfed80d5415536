"""Code that runs in a process of its own, against the fake hub."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hub.fake_hub import TOKEN, FakeHub


def python_blocks(card: str) -> list[str]:
    """The Python code in a card."""
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def run_python(code: str, hub: FakeHub, folder: Path, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, in which the Hub's client was imported with the fake hub as its endpoint."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "no_proxy": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)


def last_json(result: subprocess.CompletedProcess[str]) -> Any:
    """What a successful process printed last."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
