"""The folder that a source's images lie in: from what a source calls an image to its URI."""

import difflib
import functools
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from data.decode import SUFFIXES
from data.readers.addresses import readings, tails
from data.readers.paths import file_name, normal, parent, slashed
from data.readers.source import Source
from data.storage import MOST_BYTES, is_junk, is_remote, join, listing, path_of, shown, writable
from run.errors import UserError, above, quoted
from run.files import atomic_path

_COMPARED = 20_000
"""Names of a folder that a missing one is compared with at most; a message must not take minutes."""


class Found(NamedTuple):
    """An image that was found, and its place."""

    uri: str
    """Of the first reading of its address where no file was found."""
    address: str | None = None
    """The address, where leading folders were dropped, or case or zeros differ: two with one file may be two images."""
    recased: bool = False
    """The file's path differs from the address in case."""


class _Names(NamedTuple):
    """Names inside a folder, as far as addresses differ from them."""

    composed: Mapping[str, str]
    """Every name by its composed form (NFC)."""
    folded: Mapping[str, Sequence[str]]
    """Names by that form without its case."""
    stems: Mapping[str, Sequence[str]]
    """Names of pictures by what stands before their ending."""
    numbers: Mapping[str, Sequence[str]]
    """Those whose stem is a number that begins with 0, without its zeros: spreadsheets take them away."""

    def like(self, name: str) -> str | None:
        """The name that is the same but for how accents are written; else the only one that differs in case."""
        whole = unicodedata.normalize("NFC", name)
        others = self.folded.get(whole.casefold(), ())
        return self.composed.get(whole) or (others[0] if len(others) == 1 else None)


class ImageRoot:
    """The folder that relative image paths start from, and below which all images have to lie.

    Args:
        source: its config gives ``image_root`` and ``allow_outside``.
        start: where relative paths start unless ``image_root`` says so; normal.
        limited: images have to lie below ``start`` where there is no ``image_root``.
        also: folders beside ``start`` that images may lie below.
    """

    def __init__(self, source: Source, start: str, *, limited: bool = True, also: Sequence[str] = ()) -> None:
        config = source.config
        self._source = source
        self._start = normal(os.path.expanduser(config.image_root)) if config.image_root else start  # noqa: PTH111
        self._roots = [self._start] if config.image_root else [self._start, *also]
        self._limited = not config.allow_outside and (limited or config.image_root is not None)
        # Most images share their folder with others, and resolving one takes a call per part of its path.
        self._resolved = functools.lru_cache(maxsize=4096)(_real)
        self._names = functools.lru_cache(maxsize=256)(_names)

    def locate(self, image: object, where: str, places: Sequence[str] | None = ("",)) -> Found:
        """The image that an address means: the file that is there, or the first reading of the address.

        Args:
            image: a path, URI or id; bytes, which are written into the source's store; or, the way ``datasets`` writes
                images into Parquet, a mapping with ``bytes`` and ``path``, of which one may be null.
            places: folders below the root where the format itself may have put the image, in the order of trying; null
                where ``image`` is the URI of a file that a walk has just met.

        Raises:
            UserError: no image, one that lies outside the root by its path or through a symbolic link, or a name
                without its ending that several files have.
        """
        if isinstance(image, Mapping):
            image = image.get("path") if image.get("bytes") is None else image["bytes"]
        if isinstance(image, bytes):
            if len(image) > MOST_BYTES:
                raise UserError(above(where, "an image", MOST_BYTES))
            return Found(write_image(image, self._source.store))
        if isinstance(image, int | float) and not isinstance(image, bool) and image == image // 1:
            image = str(int(image))  # an id, which pandas may have made a float; the file's ending is looked for
        if not isinstance(image, str) or not image or "\0" in image:
            raise UserError(f"{where}: no image path, but {image!r}")
        if places is None:
            if not self._allows(image):
                raise self._outside(image, where)
            return Found(writable(image))
        found = self._find(image, where, places)
        return found._replace(uri=writable(found.uri), address=found.address and shown(found.address))

    def _find(self, image: str, where: str, places: Sequence[str]) -> Found:
        as_written = self._uri(image)
        if ".." in image.replace("\\", "/").split("/"):
            places = ("",)  # below a format's own folder, a step upwards would seem to stay inside
        several = tuple(places) != ("",)
        # Nearly every address is a path as it stands: the others' readings are not worked out for it.
        if not several and (self._is_inside(as_written) if self._limited else not is_remote(as_written)):
            at_once = self._present(as_written, where)
            # The file with the ending may be a link that leads out, where the name without it is none.
            if at_once and (at_once == as_written or self._allows(at_once)):
                return _found(image, as_written, at_once)
        tried = [self._uri(join(place, text) if place else text) for text in readings(image) for place in places]
        allowed = [uri for uri in tried if self._allows(uri)]
        for uri in allowed:
            # Where there are several places, each is listed: in a store the first would count as the right one.
            present = self._present(uri, where, sure=several)
            if present and self._allows(present):
                return _found(image, uri, present)
        # What leads out of the root is refused, before anything with a like name inside it is taken instead.
        linked_out = not self._allows(as_written) and _is_below(self._start, as_written)
        for tail in () if linked_out else tails(image):
            below = self._below(tail, where)
            if below and self._allows(below.uri):
                return below._replace(address=image)
        if not allowed:
            raise self._outside(image, where)
        if not several:
            return Found(allowed[0])
        # It is in none of a format's folders: the place to name is the first of them that is there.
        there = (uri for uri in allowed if not is_remote(uri) and os.path.isdir(parent(uri)))  # noqa: PTH112
        return Found(next(there, allowed[-1]))

    def _outside(self, image: str, where: str) -> UserError:
        return UserError(
            f"{where}: image {shown(image)!r} lies outside the image root {self._start}. Set "
            f"{self._source.key_of('image_root')} to the folder or URI that holds all images, or "
            f"{self._source.key_of('allow_outside')} to true."
        )

    def _uri(self, path: str) -> str:
        whole = is_remote(path) or path.lower().startswith("file://") or os.path.isabs(path)  # noqa: PTH117
        # Normal first, checked then: `..` must not lead out of the root unseen.
        return normal(path if whole else join(self._start, path))

    def _below(self, tail: str, where: str) -> Found | None:
        """The file below the root that the path ends in, once the leading folders that the root lacks are dropped."""
        parts = tail.split("/")
        for start in range(len(parts)):
            # A folder that the root has is never dropped: `train/1.jpg` is not the `1.jpg` beside `train`.
            if start and unicodedata.normalize("NFC", parts[start - 1]).casefold() in self._names(self._start).folded:
                return None
            uri = self._uri("/".join(parts[start:]))
            present = self._present(uri, where, sure=True)
            if present:
                return _found(tail, uri, present)
        return None

    def _present(self, uri: str, where: str, *, sure: bool = False) -> str | None:
        """The file with this URI, or with one that differs in case or how accents are written, or lacks the ending.

        Asking a store costs a request for each image, so a plain name there counts as present unless ``sure`` is asked.
        """
        if is_remote(uri):
            plain = uri.isascii() and not set("%\\+&? ").intersection(uri) and _has_ending(uri)
            if not sure and (plain or not is_remote(self._start) or not _is_below(self._start, uri)):
                return uri
            name = self._names(parent(uri)).like(file_name(uri))
            return join(parent(uri), name) if name else self._without_ending(uri, where)
        if os.path.exists(uri):  # noqa: PTH110 - once per row of a table
            return None if os.path.isdir(uri) else uri  # noqa: PTH112
        if like := self._like(uri):
            return like
        return None if _has_ending(uri) else self._without_ending(uri, where)

    def _like(self, uri: str) -> str | None:
        """The file whose path is the same but for case and how accents are written: macOS takes them apart."""
        if not _is_below(self._start, uri):
            return None
        place = self._start
        for part in uri[len(self._start.rstrip("/")) + 1 :].split("/"):
            name = self._names(place).like(part)
            if name is None:
                return None
            place = join(place, name)
        return None if os.path.isdir(place) else place  # noqa: PTH112 - once per row of a table

    def _without_ending(self, uri: str, where: str) -> str | None:
        stem = file_name(uri)
        names = self._names(parent(uri))
        matches = names.stems.get(unicodedata.normalize("NFC", stem)) or names.numbers.get(stem, ())
        if len(matches) > 1:
            raise UserError(f"{where}: {stem!r} may be {' or '.join(matches)}: write the name with its ending")
        return join(parent(uri), matches[0]) if matches else None

    def _allows(self, uri: str) -> bool:
        return not self._limited or self._is_inside(uri)

    def _is_inside(self, uri: str) -> bool:
        if is_remote(uri) or is_remote(self._start):
            return _is_below(self._start, uri)
        # Once per row of a table: os.path takes a fraction of pathlib's time.
        folder, name = os.path.split(uri)
        linked = os.path.islink(uri)  # noqa: PTH114
        real = _real(uri) if linked else f"{self._resolved(folder)}/{name}"
        return any(_is_below(self._resolved(root), real) for root in self._roots)


def _real(path: str) -> str:
    return slashed(os.path.realpath(path))


def _found(image: str, uri: str, present: str) -> Found:
    """The file that is there for one reading of an address."""
    tried, there = (unicodedata.normalize("NFC", path) for path in (uri, present))
    recased = not there.startswith(tried) and there.casefold().startswith(tried.casefold())
    return Found(present, None if there.startswith(tried) else image, recased)


def nearest(uri: str) -> str:
    """Names near one that is missing, for messages; empty where they cannot be known."""
    path = path_of(uri)
    folder = parent(path)
    name = file_name(path)
    names = _some(folder)
    while not names and parent(folder) != folder and not folder.endswith("://"):
        folder, name = parent(folder), file_name(folder)
        names = _some(folder)
    if not names:
        return ""
    folded = {other.casefold(): other for other in names if not is_junk(other)}
    # What is missing may be the file, or a folder that leads to it: then the file may lie here.
    for wanted in (name.casefold(), file_name(path).casefold()):
        near = [wanted] if wanted in folded else difflib.get_close_matches(wanted, folded, n=1)
        if near:
            return quoted(shown(join(folder, folded[near[0]])))
    return f"the folder {quoted(shown(folder))}"


@functools.lru_cache(maxsize=16)
def _some(folder: str) -> tuple[str, ...]:
    """Names inside a folder, not all of them where there are very many; none where it is not there or is empty."""
    try:
        if is_remote(folder):
            return tuple(itertools.islice(itertools.chain(*listing(folder)), _COMPARED))
        with os.scandir(folder) as found:
            return tuple(sorted(entry.name for entry in itertools.islice(found, _COMPARED)))
    except OSError:
        return ()


def write_image(data: bytes, store: Path) -> str:
    """Write an image into ``store`` under its digest, unless it is there; its path."""
    path = store.absolute() / hashlib.sha256(data).hexdigest()
    if not path.is_file():
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    return path.as_posix()


def _is_below(root: str, uri: str) -> bool:
    # The slash keeps `/data/set2` from lying below `/data/set`.
    return uri.startswith(root.rstrip("/") + "/")


def _has_ending(uri: str) -> bool:
    return os.path.splitext(uri)[1].lower() in SUFFIXES  # noqa: PTH122 - once per row of a table


def _names(folder: str) -> _Names:
    try:
        names = list(itertools.chain(*listing(folder))) if is_remote(folder) else os.listdir(folder)  # noqa: PTH208
    except OSError:
        names = []
    stems: dict[str, list[str]] = {}
    numbers: dict[str, list[str]] = {}
    folded: dict[str, list[str]] = {}
    composed = {}
    web = folder.startswith("http")
    for name in sorted(names):
        # On the web a name is part of an address.
        whole = unicodedata.normalize("NFC", unquote(name) if web else name)
        composed[whole] = name
        folded.setdefault(whole.casefold(), []).append(name)
        stem, ending = os.path.splitext(whole)  # noqa: PTH122
        if ending.lower() in SUFFIXES and not name.startswith("."):
            stems.setdefault(stem, []).append(name)
            if stem[:1] == "0" and stem.isdecimal():
                numbers.setdefault(stem.lstrip("0") or "0", []).append(name)
    return _Names(composed, folded, stems, numbers)
