"""The folder that a source's images lie in: from what a source calls an image to its URI."""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from data.readers.paths import join, normal
from data.readers.source import Source
from data.storage import is_remote
from run.errors import UserError
from run.files import atomic_path


class ImageRoot:
    """The folder that relative image paths start from, and below which all images have to lie.

    Args:
        source: its config gives ``image_root`` and ``allow_outside``.
        start: where relative paths start unless ``image_root`` says so; normal.
        limited: images have to lie below ``start`` where there is no ``image_root``.
    """

    def __init__(self, source: Source, start: str, *, limited: bool = True) -> None:
        config = source.config
        self._source = source
        self._start = normal(os.path.expanduser(config.image_root)) if config.image_root else start  # noqa: PTH111
        self._limited = not config.allow_outside and (limited or config.image_root is not None)
        # Most images share their folder with others, and resolving one takes a call per part of its path.
        self._resolved = functools.lru_cache(maxsize=4096)(os.path.realpath)

    def locate(self, image: object, where: str) -> str:
        """The URI of an image; a file's existence is not checked.

        Args:
            image: a path or URI; bytes, which are written into the source's store; or, the way ``datasets`` writes
                images into Parquet, a mapping with ``bytes`` and ``path``, of which one may be null.
            where: the place in the source, for messages.

        Raises:
            UserError: no image, or one that lies outside the root by its path or through a symbolic link.
        """
        if isinstance(image, Mapping):
            image = image.get("path") if image.get("bytes") is None else image["bytes"]
        if isinstance(image, bytes):
            return write_image(image, self._source.store)
        if not isinstance(image, str) or not image or "\0" in image:
            raise UserError(f"{where}: no image path, but {image!r}")
        whole = is_remote(image) or image.lower().startswith("file://") or image.startswith("/")
        # Normal first, checked then: `..` must not lead out of the root unseen.
        uri = normal(image if whole else join(self._start, image))
        if self._limited and not self._is_inside(uri):
            raise UserError(
                f"{where}: image {image!r} lies outside the image root {self._start}. Set "
                f"{self._source.key_of('image_root')} to the folder or URI that holds all images, or "
                f"{self._source.key_of('allow_outside')} to true."
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
    # The slash keeps `/data/set2` from lying below `/data/set`.
    return uri.startswith(root.rstrip("/") + "/")


def write_image(data: bytes, store: Path) -> str:
    """Write an image into ``store`` under its digest, unless it is there; its path."""
    path = store.absolute() / hashlib.sha256(data).hexdigest()
    if not path.is_file():
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    return str(path)
