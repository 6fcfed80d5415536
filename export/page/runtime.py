"""The files of onnxruntime-web that the page needs: fetched once by npm, checked, and kept in the user's cache."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from run.errors import UserError, quoted
from run.files import atomic_path
from run.text import escaped

PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Digest of the package, which npm's own lock files give for this version."""
RUNTIME = "runtime"
"""Where the files are inside an ONNX folder."""
FILES: Mapping[str, str] = {
    "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
"""Digest of each file, which the page asks its browser to check too; a test holds the two together."""
LICENSE = "LICENSE"
"""Beside them, because the license asks for that; it is the one of the Python package, which is the same project's."""
PUSHED = tuple(sorted((*FILES, LICENSE)))
"""All that ``write_runtime`` writes. The page holds the digests, so that no certificate has to."""
MOST_BYTES = 64 * 2**20
"""Of one of the files."""


def find_runtime(folder: Path | None = None) -> Path:
    """A folder with the files of the runtime.

    Args:
        folder: an ONNX folder, which may have them: it was pushed.

    Raises:
        UserError: they are neither there nor in the cache, and npm cannot fetch them.
    """
    if folder is not None and is_whole(folder / RUNTIME):
        return folder / RUNTIME
    kept = cache()
    if not is_whole(kept):
        with tempfile.TemporaryDirectory() as scratch, atomic_path(kept) as partial:
            _unpack(_fetch(Path(scratch)), partial)
    return kept


def write_runtime(folder: Path) -> None:
    """Put the runtime into an ONNX folder, so that any web server can serve it.

    Raises:
        UserError: it is not to be had.
    """
    source = find_runtime()
    with atomic_path(folder / RUNTIME) as partial:
        partial.mkdir()
        for name in FILES:
            shutil.copyfile(source / name, partial / name)
        shutil.copyfile(Path(onnxruntime.__file__).with_name(LICENSE), partial / LICENSE)


def is_whole(folder: Path) -> bool:
    """True where every file is there with the right bytes."""
    paths = {folder / name: digest for name, digest in FILES.items()}
    return all(path.is_file() and _digest(path.read_bytes(), "sha384") == digest for path, digest in paths.items())


def cache(package: str = PACKAGE) -> Path:
    """The folder that keeps a package between runs, in the cache folder that this system has for users."""
    home = Path.home()
    places = {
        "win32": os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"),
        "darwin": home / "Library" / "Caches",
    }
    root = os.environ.get("XDG_CACHE_HOME") or places.get(sys.platform, home / ".cache")
    return Path(root) / "pocketeva" / package


def _fetch(folder: Path) -> Path:
    """Let npm fetch the package, by the registry and the proxy that the user set up for it."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"the page needs {PACKAGE}, which npm fetches once, and npm is not installed: install Node.js, or copy "
            f"{quoted(cache())} from a machine that has it; to push without it, say `hub.page: false`"
        )
    command = [npm, "pack", PACKAGE, "--loglevel=error", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    packed = sorted(folder.glob("*.tgz"))
    if done.returncode or not packed:
        said = escaped(done.stderr.strip()[-300:]) or f"it ended with {done.returncode}"
        raise UserError(f"the page needs {PACKAGE}, and npm cannot fetch it (is there a network?): {said}")
    if _digest(packed[0].read_bytes(), "sha512") != INTEGRITY:
        raise UserError(f"npm gave another {PACKAGE} than this version was made for: its digest is not {INTEGRITY}")
    return packed[0]


def _unpack(package: Path, folder: Path) -> None:
    """Take the files, and nothing else, out of a package whose digest is right."""
    folder.mkdir()
    with tarfile.open(package) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read(MOST_BYTES))
    assert is_whole(folder)


def _digest(data: bytes, algorithm: str) -> str:
    """As browsers and npm write it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"
