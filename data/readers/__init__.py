"""Readers: from a configured source to one record per image; the formats are in ``data.readers.formats``.

``source`` is what a reader is given, ``record`` what it gives; text, targets, image paths and problems lie between.
No image is opened here, and no file's existence is checked: ``data.listing`` and ``data.scan`` do that.
"""

import re
from collections.abc import Iterator

from data.readers import auto
from data.readers.formats import READERS
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError, quoted

_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|rar|7z|gz|bz2|xz|zst)$", re.IGNORECASE)


def read(source: Source) -> Iterator[Record]:
    """Every record of a source, whatever its format.

    Records come one at a time; problems are collected and raised after the last record that is right.

    Raises:
        UserError: the source is wrong; the first problems are listed and the rest are counted.
    """
    key = source.key_of("path")
    if _ARCHIVE.search(source.config.path) and source.config.format != "elpv":
        raise UserError(
            f"{key}: {quoted(source.config.path)} is packed: unpack it first, and give the folder or file inside"
        )
    try:
        if source.config.format == "auto":
            source = auto.resolved(source)
        with source.names_met():
            yield from READERS[source.config.format].read(source)
    except OSError as error:
        raise UserError(f"{key}: {error}") from error
