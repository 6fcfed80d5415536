"""Places that a config names: a missing one is said at once, before the seconds of imports that reading takes."""

import os
import re
from pathlib import Path

from data.config import SourceConfig
from data.storage import is_remote, path_of
from run.errors import UserError, quoted

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_FILE = re.compile(r"\.(csv|tsv|jsonl?|parquet|xml)$", re.IGNORECASE)
"""Where an id ends like this, ``format: auto`` takes it for a file too."""


def is_hub_id(path: str) -> bool:
    """True for what has the form of an id on the Hub; a path that is there is never taken for one."""
    return _HUB_ID.fullmatch(path) is not None


def require_place(config: SourceConfig, key: str) -> None:
    """Refuse a source whose file or folder, or image root, is not on this machine; stores and the Hub are not asked."""
    may_be_id = config.format in ("auto", "huggingface") and is_hub_id(config.path) and not _FILE.search(config.path)
    if config.format != "elpv" and not may_be_id:
        _require(config.path, f"{key}.path")
    _require(config.image_root or "", f"{key}.image_root")


def _require(place: str, key: str) -> None:
    path = Path(path_of(os.path.expanduser(place)))  # noqa: PTH111 - `file://~` is no user
    if place and not is_remote(place) and not path.exists():
        from data.readers.images import nearest  # half a second

        near = nearest(str(path.absolute()))
        beside = f"; the nearest that is there: {near}" if near else ""
        raise UserError(f"{key}: there is no file or folder {quoted(path)}{beside}")
