"""transformers.js in Node on the golden images of an ONNX folder: by how much its own resize moves the scores."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.golden.kit import GOLDEN, GoldenIndex
from export.page.runtime import cache
from export.parity_record import OtherResize
from export.release import FP32, ReleasedModel
from export.runtime import OnnxClassifier
from run.console import log
from run.errors import UserError
from run.files import atomic_path
from run.text import escaped

LOCKED = Path(__file__).with_name("node")
"""The package and all that it needs to prepare images, by version and digest. Its ONNX Runtimes, 400 MB, are replaced
with the small package of their types: the model runs here."""
VERSION = json.loads((LOCKED / "package.json").read_text(encoding="utf-8"))["dependencies"]["@huggingface/transformers"]
PACKAGE = f"transformers.js@{VERSION}"
SECONDS = 180


def measure_transformers_js(models: Sequence[ReleasedModel], *, fetch: bool) -> dict[str, OtherResize]:
    """Compare the scores of each model's golden images with those after the resize of transformers.js, by model.

    Where that cannot be done, nothing fails for it: a line says why, and the cards say that it was not measured.

    Args:
        fetch: let npm fetch the package where it is not in the user's cache.
    """
    try:
        folder = _installed(fetch=fetch)
        return {model.name: compare_transformers_js(model.onnx, folder) for model in models}
    except (UserError, OSError) as error:  # a cache that cannot be written as well
        log.print(f"the cards do not say how far transformers.js' resize moves the scores: {error}", markup=False)
        return {}


def compare_transformers_js(onnx: Path, folder: Path) -> OtherResize:
    """Let transformers.js prepare the golden images, run ``model.onnx`` on them, and compare with the kit.

    Args:
        onnx: a ``NAME-onnx`` folder with its golden kit.
        folder: in which npm installed the package.

    Raises:
        UserError: the package fails, or does not end.
    """
    index = GoldenIndex.read(onnx)
    images = [str((onnx / GOLDEN / entry.rgb).resolve()) for entry in index.images]
    # Evaluated, not started as a file: a module's imports are looked for from its own place, these from the folder.
    script = (LOCKED / "prepare.mjs").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        pixels = Path(scratch) / "pixels"
        command = ["node", "--input-type=module", "--eval", script, str(onnx.resolve()), str(pixels), *images]
        _run(command, folder, "node")
        size = index.spec.size
        prepared = np.fromfile(pixels, np.float32).reshape(len(images), 3, size, size)
    logits = OnnxClassifier(onnx / FP32.path, threads=1).logits(prepared)
    return OtherResize.of(f"transformers.js {VERSION}", index, logits)


def _installed(*, fetch: bool) -> Path:
    """The folder with the package, in the user's cache.

    Raises:
        UserError: it is not there and is not to be fetched, or npm cannot, or there is no Node.
    """
    if shutil.which("node") is None:
        raise UserError("Node.js is not installed")
    kept = cache(PACKAGE)
    if kept.is_dir():
        return kept
    npm = shutil.which("npm")
    if not fetch or npm is None:
        raise UserError("npm is not installed" if fetch else "`pocketeva push` fetches what that takes, 12 MB, once")
    log.print(f"fetching {PACKAGE} by npm, 12 MB, once")
    with atomic_path(kept) as partial:
        shutil.copytree(LOCKED, partial)
        # As locked, and without the packages' own scripts.
        _run([npm, "ci", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts"], partial, "npm")
    return kept


def _run(command: list[str], folder: Path, name: str) -> None:
    """Run a command of Node.

    Raises:
        UserError: it fails, or does not end.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{name} did not end within {SECONDS} s") from error
    if done.returncode:
        raise UserError(f"{name} failed: {escaped(done.stderr.strip()[-300:])}")
