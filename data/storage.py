"""Bytes by URI: a path on this machine, or whatever fsspec has a file system for."""

from pathlib import Path
from typing import Any

from run.errors import UserError


def is_remote(uri: str) -> bool:
    """Whether this is a URI and not a path."""
    return "://" in uri


def read_bytes(uri: str) -> bytes:
    """A whole file.

    Raises:
        OSError: it is not there, or cannot be had.
        UserError: nothing here can speak the URI's protocol.
    """
    if not is_remote(uri):
        return Path(uri).read_bytes()
    system, path = file_system(uri)
    data: bytes = system.cat_file(path)
    return data


def fingerprint(uri: str) -> str:
    """What changes when the file does, without reading it: size and time, or the store's own tag.

    Raises:
        OSError: it is not there, or cannot be had.
        UserError: nothing here can speak the URI's protocol.
    """
    if not is_remote(uri):
        stat = Path(uri).stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"
    system, path = file_system(uri)
    info = system.info(path)
    return f"{info.get('size')}:{info.get('ETag') or info.get('etag') or info.get('LastModified') or info.get('mtime')}"


def file_system(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the URI's path in it.

    Raises:
        UserError: nothing here can speak the URI's protocol.
    """
    import fsspec

    try:
        system, path = fsspec.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise UserError(f"{uri} cannot be reached: {error}") from error
    return system, path
