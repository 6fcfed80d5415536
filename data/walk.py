"""Walking folders for pictures: the same for every reader and for ``predict``; what is passed over is counted.

A picture is known by its content. Only files whose ending is none of the known ones are opened for it, for a few bytes.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

from data.decode import SUFFIXES, format_not_read, is_heic, reads_heic
from data.storage import CONNECTIONS, Entry, entries, is_junk, is_remote, join, read_bytes, shown
from run.errors import plural

Kind = Literal["picture", "unread", "other"]
_LEFT_OUT: dict[Kind, tuple[str, str]] = {
    "unread": ("is in a format that is not read, and left out", "are in formats that are not read, and left out"),
    "other": ("is no picture, and left out", "are no pictures, and left out"),
}

_RAW = frozenset((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw", ".raf"))
"""Raw files of cameras: most begin as TIFF files do, and hold a thumbnail as their first page."""
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
_NO_PICTURES = frozenset((".txt", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".md", ".npy", ".html"))
"""Endings that are believed in a store, where looking takes a request for each file."""


class Picture(NamedTuple):
    """A picture that a walk has met."""

    uri: str
    fingerprint: str | None
    """As a store's listing gives it; null on this machine."""


class Walk:
    """Finds pictures, and counts what it passes over.

    Args:
        where: what the folders are called in messages: "label folders".
        leave_out: names of folders that are not walked.
        met: takes the names of all folders that are met.
    """

    def __init__(self, where: str = "folders", leave_out: Collection[str] = (), met: set[str] | None = None) -> None:
        self._where = where
        self._leave_out = leave_out
        self._met = set() if met is None else met
        self._junk: Counter[str] = Counter()
        self._counts: dict[Kind, Counter[str]] = {"unread": Counter(), "other": Counter()}
        self._first: dict[Kind, str] = {}

    def pictures(self, folder: str, above: tuple[str, ...] = ()) -> Iterator[Picture]:
        """Pictures at any depth, a folder's own first; a linked folder is followed, but not into itself.

        What is no regular file counts as a picture: it is refused by its name where it is read.
        """
        real = folder if is_remote(folder) else os.path.realpath(folder)
        if real in above:
            return
        folders, files = self.inside(folder)
        found = [Picture(join(folder, file.name), file.fingerprint) for file in files]
        for picture, kind in zip(found, _kinds([picture.uri for picture in found]), strict=True):
            if kind == "picture":
                yield picture
            else:
                self._counts[kind][os.path.splitext(picture.uri)[1] or "without an ending"] += 1  # noqa: PTH122
                self._first.setdefault(kind, picture.uri)
        for name in folders:
            yield from self.pictures(join(folder, name), (*above, real))

    def inside(self, folder: str) -> tuple[list[str], list[Entry]]:
        """Names of the folders, and the files, directly inside, without those that nobody made on purpose."""
        folders: list[str] = []
        files: list[Entry] = []
        for entry in entries(folder):
            name = entry.name
            if entry.is_folder and name in self._leave_out:
                self._met.add(name)
            elif not is_junk(name):
                if entry.is_folder:
                    folders.append(name)
                else:
                    files.append(entry)
            elif entry.is_folder:
                self._junk[f"in {name}"] += _files_below(join(folder, name))
            else:
                self._junk["._*" if name.startswith("._") else name] += 1
        self._met.update(folders)
        return folders, files

    def lines(self) -> list[str]:
        """A line for each kind of thing that was passed over."""
        junk = sum(self._junk.values())
        found = []
        if junk:
            names = _joined(self._junk)
            found.append(f"{plural(junk, 'file')} that other programs made left alone: {names}")
        for kind, counts in self._counts.items():
            if counts:
                one, many = _LEFT_OUT[kind]
                total = sum(counts.values())
                what = plural(total, f"file in {self._where} {one}", f"files in {self._where} {many}")
                found.append(f"{what}: {_joined(counts)}, the first {shown(self._first[kind])}")
        return found


def _kinds(uris: Sequence[str]) -> Iterable[Kind]:
    """The kind of each file; in a store many are asked about at a time."""
    if not (uris and is_remote(uris[0])):
        return map(kind_of, uris)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(kind_of, uris))


def kind_of(uri: str) -> Kind:
    """The kind of a file, by its ending where that is one of a picture, or else by its first bytes."""
    ending = os.path.splitext(uri)[1].lower()  # noqa: PTH122 - once per file
    if ending in SUFFIXES:
        return "picture"
    if ending in _RAW:
        return "unread"
    if is_remote(uri) and ending in _NO_PICTURES:
        return "other"
    if not is_remote(uri) and not os.path.isfile(uri):  # noqa: PTH113
        return "picture"  # a pipe must not be opened; whoever reads it refuses it by name
    try:
        return _kind(read_bytes(uri, 32))
    except OSError:
        return "picture"  # that it cannot be read is said where it is read


def _kind(start: bytes) -> Kind:
    bmp = start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BMP_HEADERS
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    signs = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    if bmp or webp or start.startswith(signs):
        return "picture"
    if is_heic(start):
        return "picture" if reads_heic() else "unread"
    return "unread" if format_not_read(start) else "other"


def _files_below(folder: str) -> int:
    if is_remote(folder):
        inside = entries(folder)
        return sum(_files_below(join(folder, entry.name)) if entry.is_folder else 1 for entry in inside)
    return sum(len(files) for _, _, files in os.walk(folder))


def _joined(counts: Counter[str]) -> str:
    *most, last = (f"{count:,} {shown(name)}" for name, count in sorted(counts.items()) if count)
    return f"{', '.join(most)} and {last}" if most else last
