"""The file or folder that a config names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from data.config import SourceConfig
from data.readers.paths import join, normal
from data.readers.record import is_split, split_named
from data.storage import is_folder, is_remote, listing, local_copy
from run.errors import UserError


def located(config: SourceConfig) -> str:
    """``config.path``, normal.

    Raises:
        UserError: it is empty.
    """
    if not config.path:
        raise UserError(f"data.path is empty: format {config.format} needs the file or folder to read")
    return normal(os.path.expanduser(config.path))  # noqa: PTH111


def file_name(uri: str) -> str:
    """The last part of a path or URI, without a web address's query."""
    return PurePosixPath(uri.split("?", 1)[0] if uri.startswith("http") else uri).name


@contextmanager
def opened(uri: str) -> Iterator[Path]:
    """A label file on this machine, fetched first if it is a URI.

    Raises:
        UserError: there is no such file, or it cannot be had.
    """
    if not is_remote(uri) and not Path(uri).is_file():
        raise UserError(f"data.path: {uri} is not a file")
    try:
        with local_copy(uri) as path:
            yield path
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"data.path: {error}") from error


def parts_of(uri: str, name: str) -> list[tuple[str, str | None]]:
    """The files that a path stands for, each with the split that its folder names.

    Args:
        uri: a file, or a folder with the file ``name`` in it or in each of its split folders.
        name: the file's usual name.

    Raises:
        UserError: a folder without such a file, or one both in the folder and in its split folders.
    """
    if PurePosixPath(uri).suffix == PurePosixPath(name).suffix or not is_folder(uri):
        return [(uri, None)]
    folders, files = listing(uri)
    inner = [folder for folder in folders if is_split(folder) and name in listing(join(uri, folder))[1]]
    if inner and name in files:
        raise UserError(f"data.path: {name} lies both in {uri} and in {', '.join(inner)}: name the one to read")
    if name in files:
        return [(join(uri, name), None)]
    if not inner:
        raise UserError(f"data.path: there is no {name} in {uri}, nor in folders train, valid or test inside it")
    return [(join(join(uri, folder), name), split_named(folder, uri)) for folder in inner]


def place_name(uri: str, source: str) -> str:
    """What messages call a file: its name, after the split folder it lies in where the source is a folder."""
    return uri[len(source.rstrip("/")) + 1 :] if uri.startswith(source.rstrip("/") + "/") else file_name(uri)
