"""A label file that is one JSON value."""

import json
from typing import Any

from data.readers.source import opened
from run.errors import UserError


def document(uri: str, name: str) -> Any:
    """The value; it is held in memory.

    Raises:
        UserError: no such file, not UTF-8, empty, or no JSON; the message says where.
    """
    with opened(uri) as path:
        data = path.read_bytes()
    if not data.strip():
        raise UserError(f"{name} is empty")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{name}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not JSON ({error})") from None


def text_of(item: dict[str, Any], column: str | None) -> str:
    """A value that an item may have beside its image, like its split; empty where it has none."""
    value = item.get(column) if column else None
    return "" if value is None else str(value)
