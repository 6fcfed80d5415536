"""Label files as UTF-8 text: line by line, or as one JSON value."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from run.errors import UserError


def lines(path: Path, name: str) -> Iterator[str]:
    """Every line with its ending; a byte order mark is dropped.

    Args:
        path: a file on this machine.
        name: its name in messages.

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


def json_value(path: Path, name: str) -> Any:
    """The value of a JSON file; it is held in memory.

    Raises:
        UserError: not UTF-8, empty, or no JSON; the message says where.
    """
    text = "".join(lines(path, name))
    if not text.strip():
        raise UserError(f"{name} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{name}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not JSON ({error})") from None
