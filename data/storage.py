"""Bytes by URI: a path on this machine, or whatever fsspec has a file system for.

What is not there, cannot be had, or is no regular file where one is asked for, raises an ``OSError`` that says which; a
URI whose protocol nothing here can speak, a ``UserError``.
"""

import errno
import functools
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from run.errors import UserError, above
from run.text import escaped

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
"""By protocol, the package to install, for messages; fsspec names the others itself."""


_JUNK = frozenset(
    (
        *("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "lost+found"),
        *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__pycache__"),
    )
)
CONNECTIONS = 32
"""Requests to a store at a time, in each process."""
_TAGS = ("ETag", "etag", "Content-MD5", "LastModified", "Last-Modified", "mtime")
"""What stores say of a file that changes when it does; a listing and a question about one file give the same."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""A file may become a pipe just before it is opened: like this, none waits for its writer. Windows has other flags."""
_UNENCODABLE = re.compile(r"[\ud800-\udfff]")


_FILE = "file://"
MOST_BYTES = 2**29
"""Of one image file: the largest that the decode contract takes is an uncompressed TIFF of 400 MiB."""
MOST_UNSIZED = 2**32
"""Of a label file that a server sends without saying its size."""


def is_remote(uri: str) -> bool:
    """True for what lies in a store, false for a file of this machine."""
    return "://" in uri and not uri.startswith(_FILE)


def writable(path: str) -> str:
    """A path that can be written into a table: where its bytes are not UTF-8, as ``file://`` with ``%`` for each."""
    return _FILE + quote_from_bytes(os.fsencode(path)) if _UNENCODABLE.search(path) else path


def path_of(uri: str) -> str:
    """The path of a file of this machine."""
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE))) if uri.startswith(_FILE) else uri


def read_bytes(uri: str, count: int | None = None) -> bytes:
    """A whole file, or so many bytes of its beginning."""
    if is_remote(uri):
        part = {} if count is None else {"start": 0, "end": count}
        with _store(uri, stays=True) as (system, name):
            data: bytes = system.cat_file(name, **part)
        return data[:count]
    path = path_of(uri)
    require_regular(path, os.stat(path).st_mode)  # noqa: PTH116 - once per image
    with os.fdopen(os.open(path, os.O_RDONLY | _OPEN_FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        require_regular(path, found.st_mode)
        _require_size(path, found.st_size if count is None else count)
        return file.read(count)


def require_regular(path: str, mode: int) -> None:
    """Refuse what is no regular file: reading a pipe waits for its writer, and a device may never end."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, not a file", path)
    if not stat.S_ISREG(mode):
        what = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"this is {what}, not a regular file", path)


def shown(text: str) -> str:
    """A name for messages, on one line: bytes that are not UTF-8, and what would steer a terminal, as escapes."""
    whole = os.fsencode(text).decode("utf-8", "backslashreplace") if _UNENCODABLE.search(text) else text
    return escaped(whole, one_line=True)


def _require_size(place: str, size: int) -> None:
    if size > MOST_BYTES:
        raise OSError(errno.EFBIG, above("this file", f"its size of {size:,} bytes", MOST_BYTES), place)


def fingerprint(uri: str) -> str:
    """A text that changes when the file does, without reading it: size and time, or the store's own tag."""
    if not is_remote(uri):
        found = os.stat(path_of(uri))  # noqa: PTH116 - once per row
        require_regular(uri, found.st_mode)
        _require_size(uri, found.st_size)
        return f"{found.st_size}:{found.st_mtime_ns}"
    with _store(uri, stays=True) as (system, path):
        info = system.info(path)
    _require_size(uri, int(info.get("size") or 0))
    return _mark(info) or f"{info.get('size')}:None"


def _mark(info: Mapping[str, Any]) -> str | None:
    tag = next((info[key] for key in _TAGS if info.get(key)), None)
    return None if tag is None else f"{info.get('size')}:{tag}"


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A file as a path that can be read, sought in and streamed: itself, or a temporary copy while the block runs."""
    if not is_remote(uri):
        require_regular(uri, Path(uri).stat().st_mode)
        with Path(uri).open("rb"):  # say now that it cannot be read
            pass
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="pocketeva-") as folder:
        target = Path(folder) / "file"
        with _store(uri) as (system, path), system.open(path, "rb") as source, target.open("wb") as file:
            _copy(source, file, uri)
        yield target


def _copy(source: Any, file: BinaryIO, uri: str) -> None:
    """Copy a stream; one that does not say its size may never end."""
    left = getattr(source, "size", None) or MOST_UNSIZED
    while chunk := source.read(min(left + 1, 1 << 20)):
        left -= file.write(chunk)
        if left < 0:
            raise OSError(errno.EFBIG, above("this file", "what the server sends", MOST_UNSIZED), uri)


def join(folder: str, name: str) -> str:
    """A name in a folder; not yet normal where the name leads upwards."""
    return f"{folder.rstrip('/')}/{name}"


def is_junk(name: str) -> bool:
    """True for names that operating systems and other programs give to what they add to people's folders.

    Example:
        >>> [is_junk(name) for name in ("._a.jpg", "@eaDir", "Thumbs.db", "a.jpg")]
        [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in _JUNK


class Entry(NamedTuple):
    """A file or folder directly inside of a folder."""

    name: str
    is_folder: bool
    fingerprint: str | None = None
    """Of a file in a store."""


def entries(uri: str) -> list[Entry]:
    """Everything directly inside a folder, sorted by name."""
    if not is_remote(uri):
        with os.scandir(uri) as found:
            return sorted(Entry(entry.name, entry.is_dir()) for entry in found)
    with _store(uri) as (system, path):
        own = path.rstrip("/")
        place = f"{own}/" if uri.startswith("http") else path
        listed = [entry for entry in system.ls(place, detail=True) if entry["name"].rstrip("/") != own]
    named = ((PurePosixPath(info["name"]).name, info) for info in listed)
    return sorted(
        Entry(name, info["type"] == "directory", _mark(info) if info["type"] == "file" else None)
        for name, info in named
    )


def listing(uri: str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files directly inside a folder, sorted, without ``is_junk`` names."""
    seen = [(entry.name, entry.is_folder) for entry in entries(uri) if not is_junk(entry.name)]
    return [name for name, folder in seen if folder], [name for name, folder in seen if not folder]


def is_folder(uri: str) -> bool:
    """True where there is such a folder."""
    if not is_remote(uri):
        return Path(uri).is_dir()
    with _store(uri) as (system, path):
        return bool(system.isdir(path))


def file_system(uri: str, *, stays: bool = False) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the URI's path in it.

    Listings are not kept: a store that has changed is seen as it is, and a large one does not fill the memory.

    Args:
        stays: refuse redirects to another web server. The user named the label file, and others wrote what is in it:
            their addresses must not make this machine ask any server that it can reach.

    Raises:
        UserError: nothing here can speak the URI's protocol.
    """
    import fsspec

    scheme = uri.split("://", 1)[0].lower()
    try:
        # S3's client opens ten connections and no more, unless it is asked to; and to fetch parts of an object side by
        # side, it would first ask for each object's size.
        parts = {"max_concurrency": 1, "config_kwargs": {"max_pool_connections": CONNECTIONS}}
        more: dict[str, Any] = parts if scheme in ("s3", "s3a") else {}
        if scheme in ("http", "https"):
            more = {"client_kwargs": {"response_class": _bounded(), **({"trace_configs": _staying()} if stays else {})}}
        found: tuple[Any, str] = fsspec.url_to_fs(uri, use_listings_cache=False, **more)
    except (ImportError, ValueError) as error:
        if isinstance(error, ImportError) and scheme in _PACKAGES:
            raise UserError(f"{uri}: {scheme}:// needs another package: pip install {_PACKAGES[scheme]}") from error
        raise UserError(f"{uri} cannot be reached: {error}") from error
    return found


@functools.cache  # fsspec makes a client for each that it is given
def _staying() -> list[Any]:
    """Trace settings of aiohttp that end a request at a redirect to another server; to HTTPS of the same is fine."""
    import aiohttp
    from yarl import URL

    async def refuse(_session: Any, _context: Any, redirect: Any) -> None:
        target = redirect.url.join(URL(redirect.response.headers.get("Location", "")))
        secured = target.host == redirect.url.host and (target.scheme, target.port) == ("https", 443)
        if target.origin() != redirect.url.origin() and not secured:
            raise PermissionError(f"it leads on to {target.origin()}: give the address there if that is meant")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return [trace]


@functools.cache
def _bounded() -> type:
    """The response of aiohttp, reading no more than an image may have: a server need not say how much comes."""
    import aiohttp

    class Bounded(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                found = bytearray()
                async for chunk in self.content.iter_any():
                    found += chunk
                    if len(found) > MOST_BYTES:
                        self.close()
                        raise OSError(above(str(self.url), "what the server sends", MOST_BYTES))
                self._body = bytes(found)
            return await super().read()

    return Bounded


@contextmanager
def _store(uri: str, *, stays: bool = False) -> Iterator[tuple[Any, str]]:
    """As ``file_system``; every failure in the block is an ``OSError`` whose message begins with the URI."""
    try:
        yield file_system(uri, stays=stays)
    except UserError:
        raise
    except FileNotFoundError as error:
        if isinstance(error.__cause__, PermissionError):  # what was refused is not there, to fsspec
            raise PermissionError(errno.EACCES, f"the store refuses: {error.__cause__}", uri) from error
        raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", uri) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"the store refuses: {error}", uri) from error
    except Exception as error:  # the stores' clients have no base class in common
        raise OSError(f"{uri} cannot be read: {type(error).__name__}: {error}") from error
