"""What npm brings for the tests: onnxruntime-web and transformers.js, installed once for all of them."""

import os
from pathlib import Path

import pytest

from benchmarks.npm import CannotRunError
from benchmarks.wasm import install
from hub.transformers_js import VERSION

TRANSFORMERS_JS = f"@huggingface/transformers@{VERSION}"


def install_or_skip(folder: Path) -> None:
    """Install them; without npm or a network a test is skipped on somebody's machine, and fails in CI."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        install(folder, TRANSFORMERS_JS)
    except CannotRunError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
