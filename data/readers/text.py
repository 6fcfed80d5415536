"""Label files as UTF-8 text: line by line, or as one JSON value."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from run.errors import UserError, above

MOST_LINE = 16 * 2**20
"""Bytes of a line, or of one task or image in a file that has them all on one: a row takes no more memory than that."""

MOST_JSON = 2**31
"""Bytes of a file that is one JSON value: it takes about ten times as much memory. COCO's own have a quarter of it."""


def lines(path: Path, name: str, most: int = MOST_LINE) -> Iterator[str]:
    """Every line with its ending; a byte order mark is dropped.

    Args:
        most: bytes of a line; -1 for any number.

    Raises:
        UserError: a byte is not UTF-8, or a line is too long; the message says which.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(most if most < 0 else most + 1), b""), start=1):
            if 0 <= most < len(line):
                raise UserError(above(f"{name}, line {number}", "the line", most))
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


def json_value(path: Path, name: str) -> Any:
    """The value of a JSON file; it is held in memory.

    Raises:
        UserError: not UTF-8, empty, too large, or no JSON; the message says where.
    """
    if path.stat().st_size > MOST_JSON:
        raise UserError(above(name, "the file", MOST_JSON))
    text = "".join(lines(path, name, most=-1))
    if not text.strip():
        raise UserError(f"{name} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{name}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not JSON ({error})") from None
