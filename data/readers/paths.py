"""Where an image lies that a label file names, and whether it may lie there."""

import functools
import os
import posixpath
from pathlib import Path
from urllib.parse import unquote

from data.config import SourceConfig
from data.storage import is_remote
from run.errors import UserError


def normal(path: str) -> str:
    """An absolute path or a URI without ``.`` and ``..``; symbolic links stay, ``file://`` becomes a path."""
    if path.lower().startswith("file://"):
        path = unquote(path[len("file://") :])
    if not is_remote(path):
        return os.path.normpath(path if path.startswith("/") else Path(path).absolute())
    scheme, rest = path.split("://", 1)
    scheme = scheme.lower()
    web = scheme in ("http", "https")
    place, mark, query = rest.partition("?") if web else (rest, "", "")
    host, *parts = place.split("/")
    kept: list[str] = []
    for part in parts:
        step = unquote(part) if web else part
        if step == "..":
            del kept[-1:]
        elif step != ".":
            kept.append(part)  # empty parts stay: a store may have a key with two slashes
    return f"{scheme}://{'/'.join((host, *kept))}{mark}{query}"


def parent(uri: str) -> str:
    """The folder of a file; both are normal."""
    if is_remote(uri):
        scheme, rest = uri.split("://", 1)
        return f"{scheme}://{posixpath.dirname(rest)}"
    return str(Path(uri).parent)


def join(folder: str, name: str) -> str:
    """A name below a folder, not yet normal."""
    return f"{folder.rstrip('/')}/{name}"


class ImageRoot:
    """The folder that relative image paths start from, and below which all images have to lie.

    Args:
        config: gives ``image_root`` and ``allow_outside``.
        start: where relative paths start unless ``image_root`` says so; normal.
        limited: whether images have to lie below ``start`` where there is no ``image_root``.
    """

    def __init__(self, config: SourceConfig, start: str, *, limited: bool = True) -> None:
        self._start = normal(os.path.expanduser(config.image_root)) if config.image_root else start  # noqa: PTH111
        self._limited = not config.allow_outside and (limited or config.image_root is not None)
        # Most images share their folder with others, and resolving one takes a call per part of its path.
        self._resolved = functools.lru_cache(maxsize=4096)(os.path.realpath)

    def locate(self, name: object, where: str) -> str:
        """The URI of an image by the name that a row gives it; whether it is there is not looked at.

        Raises:
            UserError: no name, or the image lies outside the root by its path or through a symbolic link.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise UserError(f"{where}: no image path, but {name!r}")
        whole = is_remote(name) or name.lower().startswith("file://") or name.startswith("/")
        uri = normal(name if whole else join(self._start, name))
        if self._limited and not self._is_inside(uri):
            raise UserError(
                f"{where}: image {name!r} lies outside the image root {self._start}. Set image_root to the folder or "
                "URI that holds all images, or allow_outside to true."
            )
        return uri

    def _is_inside(self, uri: str) -> bool:
        if is_remote(uri) or is_remote(self._start):
            return _is_below(self._start, uri)
        # Once per row of a table: os.path takes a fraction of pathlib's time.
        folder, name = os.path.split(uri)
        linked = os.path.islink(uri)  # noqa: PTH114
        real = os.path.realpath(uri) if linked else f"{self._resolved(folder)}/{name}"
        return _is_below(self._resolved(self._start), real)


def _is_below(root: str, uri: str) -> bool:
    return uri.startswith(root.rstrip("/") + "/")
