"""Readings of an image's address: the paths that a person would try, the likeliest first.

Labeling tools write where they serve a file, competitions leave its ending out, and other machines have other folders
and other slashes. Which reading is meant is decided by what is there: ``data.readers.images`` looks.
"""

import html
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, unquote_to_bytes

_LOCAL_FILES = re.compile(r"data/+local-files/*\?(?:[^#]*?&)?d=(?P<path>.*)", re.DOTALL)
_UPLOAD = re.compile(r"(?:^|/)data/+(?P<path>upload/.*)", re.DOTALL)
_HOST = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://[^/]*/*")
_WHOLE = re.compile(r"[0-9]+\.0")
_DRIVE = re.compile(r"^[A-Za-z]:(?=[\\/])")


def readings(address: str) -> list[str]:
    """Paths or URIs that an address may mean, the likeliest first; of hosts and folders, only Label Studio's go.

    Example:
        >>> readings("https://labels.example/ls/data/local-files/?d=a%20b.jpg")
        ['a b.jpg', 'a%20b.jpg', 'https://labels.example/ls/data/local-files/?d=a%20b.jpg']
    """
    return list(dict.fromkeys(_readings(address)))


def tails(address: str) -> list[str]:
    """The path in an address without host, drive and first slashes, in every reading, for leading folders to go from.

    There is none where an address goes upwards: what stands before ``..`` is no folder that may be dropped.
    """
    found = []
    for reading in _readings(address):
        host = _HOST.match(reading)
        path = _DRIVE.sub("", reading[host.end() :] if host else reading)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if parts and ".." not in parts:
            found.append("/".join(parts))
    return list(dict.fromkeys(found))


def _readings(address: str) -> Iterator[str]:
    for reading in _encodings(address):
        yield reading
        # On Linux a name may hold a backslash, so the reading as it is comes first.
        if "\\" in reading:
            yield reading.replace("\\", "/")


def _encodings(address: str) -> Iterator[str]:
    for text in (address, unquote(address)):
        if served := _LOCAL_FILES.search(text) or _UPLOAD.search(text):
            # Decoded first, once: the tool encodes. Older ones did not, so `+`, `&` and `#` may belong to the name.
            for path in _with_and_without_query(served["path"]):
                yield from (unquote(path).lstrip("/"), path.lstrip("/"), unquote_plus(path).lstrip("/"))
            break
    yield address
    if _HOST.match(address):
        for path in _with_and_without_query(address):
            yield from (path, unquote(path))
    elif "%" in address:
        yield unquote(address)
    # A space around a name is a table's more often than the name's.
    if address != address.strip():
        yield address.strip()
    # An id of which a spreadsheet or pandas made a fraction.
    if _WHOLE.fullmatch(address):
        yield address.split(".", 1)[0]
    yield from _seldom(address)


def _seldom(address: str) -> Iterator[str]:
    """A space as ``+``, HTML's own words, a query after a path, and names from before UTF-8."""
    if "+" in address:
        yield unquote_plus(address)
    if "&" in address and "?" not in address:
        yield html.unescape(address)
    if "?" in address and not _HOST.match(address):
        yield unquote(address.split("?", 1)[0])
    if "%" in address:
        yield os.fsdecode(unquote_to_bytes(address))
    if not address.isascii():
        yield os.fsdecode(address.encode("cp1252", "replace"))


def _with_and_without_query(path: str) -> Iterator[str]:
    yield path
    for mark in "#&?":
        if mark in path:
            yield path.split(mark, 1)[0]
