"""Paths and URIs as text: made normal, taken apart."""

import os
import posixpath
from pathlib import PurePosixPath
from urllib.parse import unquote

from data.storage import is_remote, path_of


def normal(path: str) -> str:
    """An absolute path or a URI without ``.`` and ``..``; symbolic links stay, ``file://`` becomes a path."""
    if path.lower().startswith("file://"):
        path = path_of(f"file://{path[len('file://') :]}")
    if not is_remote(path):
        return slashed(os.path.abspath(path))  # noqa: PTH100 - once per row of a table
    scheme, rest = path.split("://", 1)
    scheme = scheme.lower()
    web = scheme in ("http", "https")
    place, mark, query = rest.partition("?") if web else (rest, "", "")
    host, *parts = place.split("/")
    kept: list[str] = []
    for part in parts:
        # Web servers decode before they resolve dots, so an encoded `..` is one too; in a store's key it is only text.
        step = unquote(part) if web else part
        if step == "..":
            del kept[-1:]
        elif step != ".":
            kept.append(part)  # empty parts stay: a store may have a key with two slashes
    return f"{scheme}://{'/'.join((host, *kept))}{mark}{query}"


def slashed(path: str) -> str:
    """A path of this system with ``/`` alone, which Windows takes too; elsewhere a backslash belongs to a name."""
    return path.replace(os.sep, "/")


def parent(uri: str) -> str:
    """The folder of a file; both are normal."""
    if is_remote(uri):
        scheme, rest = uri.split("://", 1)
        return f"{scheme}://{posixpath.dirname(rest)}"
    return os.path.dirname(uri)  # noqa: PTH120 - once per row of a table


def file_name(uri: str) -> str:
    """The last part of a path or URI, without a web address's query."""
    return PurePosixPath(uri.split("?", 1)[0] if uri.startswith("http") else uri).name
