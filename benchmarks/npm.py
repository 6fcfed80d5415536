"""Packages that npm brings into a folder."""

import os
import shutil
import subprocess
from pathlib import Path


class CannotRunError(Exception):
    """What needs the packages cannot run on this machine; the message says why."""


def fetch(folder: Path, *packages: str) -> None:
    """Put packages below ``node_modules`` of a folder.

    Raises:
        CannotRunError: there is no node or no npm, or npm cannot fetch a package.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise CannotRunError("node and npm are not installed")
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
    environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRunError(f"npm could not install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
