"""Lines of UTF-8 text, one at a time."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from run.errors import UserError


def lines(path: Path, name: str) -> Iterator[str]:
    """Every line with its ending; a byte order mark is dropped.

    Args:
        path: a file on this machine.
        name: what messages call it.

    Raises:
        UserError: a byte is not UTF-8; the message says which.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UserError(f"{name} is UTF-16, not UTF-8: save it as UTF-8")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                mark = len(codecs.BOM_UTF8) if number == 1 and line.startswith(codecs.BOM_UTF8) else 0
                place = offset + mark + error.start
                raise UserError(f"{name}, line {number} is not UTF-8 (byte {place}): save it as UTF-8") from None
            offset += len(line)
            yield text
