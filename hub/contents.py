"""Files that may go into a repository: those of a release, and nothing of the machine that made them."""

import getpass
import mmap
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from export.onnx_graph import MEANINGFUL
from export.page.runtime import PUSHED, RUNTIME
from hub.remote import files_of
from run.errors import UserError, listed
from run.text import escaped

_CHECKPOINT = r"README\.md|model\.sig|(confusion|reliability)\.png|config\.json|model\.safetensors"
_ONNX = (
    r"README\.md|(config|preprocessor_config|labels|thresholds|parity|int8|formats|certificate)\.json|"
    r"(report|index)\.html|rgb\.onnx|onnx/model(_[a-z0-9]+)?\.onnx|"
    r"page/([a-z]+\.(css|js)|settings\.json|rgb\.onnx)|"
    + "|".join(re.escape(f"{RUNTIME}/{name}") for name in PUSHED)
    + "|"
    r"golden/(README\.md|index\.json|[A-Za-z0-9_.]+\.(png|jpg))|"
    r"openvino/model\.(xml|bin)|executorch/model\.pte|coreml/model\.mlpackage/[A-Za-z0-9_./-]+"
)
ALLOWED = re.compile(f"{_CHECKPOINT}|{_ONNX}")
"""Every file of a checkpoint folder or an ONNX folder, by its path there."""
_HIDDEN = re.compile(r"(^|/)\.(?!partial-)")
_LEFT = re.compile(r"(^|/)\.partial-")

_COMMON = frozenset(("root", "user", "admin", "ubuntu", "debian", "runner", "docker", "jovyan", "localhost", "default"))
"""Names of users and machines that say nothing of anybody, and that any file may hold."""


def require_allowed(folders: Iterable[Path]) -> None:
    """Refuse folders with links, hidden files, or files that no release has."""
    refused = []
    for folder in folders:
        for path in sorted(_entries(folder)):
            name = path.relative_to(folder).as_posix()
            shown = escaped(f"{folder.name}/{name}", one_line=True)
            if path.is_symlink():
                refused.append(f"{shown} is a symbolic link: what it leads to would be published")
            elif _HIDDEN.search(name) and not _LEFT.search(name):
                refused.append(f"{shown} is hidden")
            elif not _LEFT.search(name) and not ALLOWED.fullmatch(name):
                refused.append(f"{shown} is no file that a release has")
    if refused:
        raise UserError(f"nothing was sent, because of what is not published: remove it\n{listed(refused)}")


def require_impersonal(folders: Iterable[Path], private: Sequence[str], meant: str) -> None:
    """Refuse files that name this machine, its user or its folders, wherever in their bytes.

    Args:
        folders: all that is to be published.
        private: more that must not be named: where the run's images and models lie.
        meant: what the author says in the config, for everybody to read: names in it are no secrets.
    """
    sought = {**_places(private), **_names(meant)}
    pattern = re.compile(b"|".join(sought.values())) if sought else None
    found = []
    for path in (path for folder in folders for path in files_of(folder)):
        if pattern is None or not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if pattern.search(data):
                named = [what for what, each in sought.items() if re.search(each, data)]
                found.append(f"{path.parent.name}/{path.name} names {', '.join(named)}")
    if found:
        raise UserError(
            "nothing was sent, because these files would tell of this machine:\n" + listed(map(escaped, found)) + "\n"
            "Run `pocketeva export` again, or take it out of the file; a name that hub.description says is no secret."
        )


def _entries(folder: Path) -> Iterator[Path]:
    """Files and links at any depth; no link is followed."""
    for root, folders, files in os.walk(folder):
        yield from (Path(root, name) for name in files)
        yield from (Path(root, name) for name in folders if Path(root, name).is_symlink())


def _places(private: Sequence[str]) -> dict[str, bytes]:
    """Folders of this machine, and what else is private, as what to look for."""
    folders = {str(Path.cwd()), str(Path.home()), sys.prefix, sys.base_prefix}
    found = {place: re.escape(f"{place}/".encode()) for place in sorted(folders) if len(place) >= MEANINGFUL}
    # Only what is a whole path: a relative one may be a word that any file holds.
    given = [os.path.expanduser(place.removeprefix("local-dir:")) for place in private]  # noqa: PTH111 - or a URI
    absolute = [place for place in given if (place.startswith("/") or "://" in place) and len(place) >= MEANINGFUL]
    return found | {place: re.escape(place.rstrip("/").encode()) for place in absolute}


def _names(meant: str) -> dict[str, bytes]:
    """The names of user and machine as whole words, where they say something."""
    host = socket.gethostname()
    names = {getpass.getuser(), host, host.partition(".")[0]}
    telling = {name for name in names if len(name) >= MEANINGFUL and name.lower() not in _COMMON and name not in meant}
    return {name: rb"(?<![A-Za-z0-9])" + re.escape(name.encode()) + rb"(?![A-Za-z0-9])" for name in sorted(telling)}
