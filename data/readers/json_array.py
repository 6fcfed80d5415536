"""The objects of a JSON array, one at a time (ijson was tried; docs/log.md says why it is not used)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.readers.text import MOST_LINE, lines
from run.errors import UserError, above

_CHUNK = 1 << 20
_LONGEST_TOKEN = 16
"""In a word, a number or an escape that is cut, the parser gives up at most so many characters before the cut."""
_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,]*")


def objects(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Each object of a file that is an array of objects; memory holds the largest of them, not all.

    Raises:
        UserError: empty, not UTF-8, or not an array of objects; the message says where.
    """
    buffer = _Buffer(path, name)
    first = buffer.next_character()
    if first != "[":
        raise UserError(f"{name} is no list of tasks: it needs [ … ]" if first else f"{name} is empty")
    buffer.drop(1)
    while (character := buffer.next_character()) == "{":
        yield buffer.value()
    if character != "]":
        raise buffer.error("an object or the end of the list is missing")


class _Buffer:
    """The part of a file that is not yet read as JSON."""

    def __init__(self, path: Path, name: str) -> None:
        self._text = ""
        self._at = 0
        self._line = 1
        self._chunks = self._read(path)
        self._name = name

    def next_character(self) -> str:
        """The first character that is no space or comma; empty at the end."""
        while True:
            between = _BETWEEN.match(self._text, self._at)
            self.drop(between.end() - self._at if between else 0)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def value(self) -> dict[str, Any]:
        """The object at the start."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # It may only be longer than the buffer.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _LONGEST_TOKEN
                if not cut or not self._double():
                    raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self.error(str(error), self._at) from None
            else:
                self.drop(end - self._at)
                assert isinstance(value, dict)
                return value

    def drop(self, count: int) -> None:
        """Pass over characters at the start."""
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def error(self, message: str, position: int | None = None) -> UserError:
        """An error at a position of the buffer, by default at its start."""
        line = self._line + self._text.count("\n", self._at, self._at if position is None else position)
        return UserError(f"{self._name}, line {line}: not JSON ({message})")

    def _double(self) -> bool:
        """Read as much again, so that an object much larger than a chunk is tried a few times only."""
        size = len(self._text) - self._at
        if size > MOST_LINE:
            raise UserError(above(f"{self._name}, line {self._line}", "an object", MOST_LINE))
        while len(self._text) - self._at < 2 * size and self._more():
            pass
        return len(self._text) - self._at > size

    def _more(self) -> bool:
        chunk = next(self._chunks, "")
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def _read(self, path: Path) -> Iterator[str]:
        try:
            with path.open(encoding="utf-8-sig") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except UnicodeDecodeError:
            # A chunk's decoder cannot say which byte of the file it was; going through the lines again can.
            for _ in lines(path, self._name, most=-1):
                pass
