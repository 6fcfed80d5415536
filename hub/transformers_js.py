"""transformers.js in Node on the golden images of an ONNX folder: by how much its own resize moves the scores."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from export.golden.kit import GOLDEN, GoldenIndex
from export.parity_record import OtherResize
from run.errors import UserError, quoted
from run.text import escaped

PACKAGE = "@huggingface/transformers"
SCRIPT = Path(__file__).with_suffix(".mjs")
SECONDS = 600


def require_transformers_js(folder: str) -> None:
    """Refuse a folder in which npm has not installed the package.

    Raises:
        UserError: the package is not there, or there is no Node.
    """
    if shutil.which("node") is None:
        raise UserError("hub.transformers_js: node is not installed: install Node.js, or leave the key out")
    if not (Path(folder) / "node_modules" / PACKAGE).is_dir():
        raise UserError(
            f"hub.transformers_js: {quoted(folder)} holds no {PACKAGE}: run `npm install {PACKAGE}` there, or leave "
            "the key out"
        )


def compare_transformers_js(onnx: Path, folder: str) -> OtherResize:
    """Let transformers.js prepare the golden images and run ``model.onnx``, and compare with its scores in the kit.

    Args:
        onnx: a ``NAME-onnx`` folder with its golden kit.
        folder: in which npm installed the package.

    Raises:
        UserError: the package is not there, fails, or does not end.
    """
    require_transformers_js(folder)
    index = GoldenIndex.read(onnx)
    images = [str((onnx / GOLDEN / entry.rgb).resolve()) for entry in index.images]
    # Evaluated, not started as a file: a module's imports are looked for from its own place, these from the folder.
    command = [
        "node",
        "--input-type=module",
        "--eval",
        SCRIPT.read_text(encoding="utf-8"),
        str(onnx.resolve()),
        *images,
    ]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"hub.transformers_js: {PACKAGE} did not end within {SECONDS} s: leave the key out") from error
    if done.returncode:
        raise UserError(f"hub.transformers_js: {PACKAGE} failed in node: {escaped(done.stderr.strip()[-300:])}")
    found = json.loads(done.stdout.splitlines()[-1])
    logits = np.array(found["logits"], np.float32)
    return OtherResize.of(f"transformers.js {found['version']}", index, logits)
