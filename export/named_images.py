"""The images that arguments name: files, folders, patterns, URIs, or ``-`` for paths on standard input."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data.storage import is_folder, is_remote, shown
from data.walk import Walk
from run.console import log
from run.errors import UserError, quoted

STDIN = "-"


def named_images(names: Sequence[str]) -> Iterable[str]:
    """Paths and URIs, in the order they are named; those of a folder by path. What is passed over there is said.

    A list, and with ``-`` an iterator that reads on as it is asked.

    Raises:
        UserError: nothing is there under a name, or there are no images.
    """
    if list(names) == [STDIN]:
        return _from_stdin()
    walk = Walk()
    files = [file for name in names for file in _under(name, walk)]
    for line in walk.lines():
        log.print(line, soft_wrap=True)
    if not files:
        raise UserError(f"no image files in {', '.join(quoted(shown(name)) for name in names)}")
    return files


def _under(name: str, walk: Walk) -> Iterator[str]:
    if is_folder(name):
        yield from sorted(picture.uri for picture in walk.pictures(name))
    elif is_remote(name) or Path(name).exists():
        yield name  # whether it can be read is said with the others
    else:
        # A shell that knows patterns has put files in their place: this is for Windows, and for quoted ones.
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not found:
            raise UserError(f"{quoted(shown(name))} is neither a file nor a folder")
        for inside in found:
            yield from _under(inside, walk)


def _from_stdin() -> Iterator[str]:
    """One path a line, or separated by zero bytes as ``find -print0`` does."""
    for line in sys.stdin.buffer:
        yield from (os.fsdecode(name) for name in line.rstrip(b"\r\n").split(b"\0") if name)
