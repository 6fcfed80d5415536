"""A YAML file and command-line overrides as frozen dataclasses; all that is wrong is said at once, by whole path."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, cast, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from run.config import ConfigError, UnknownValueError, shown
from run.errors import UserError, listed, quoted
from run.overrides import override
from run.schema import default_of, hints_of, is_list, joined, keys_of, section_in, unknown_key
from run.yaml_text import read_yaml

T = TypeVar("T")

UNKNOWN: Any = MISSING
"""Stands for a value that could not be read, as for one that is not given."""

NAMES = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "text",
    "tuple_type": "a list",
}
"""By pydantic's type of error, what a value has to be."""


def parse(kind: type[T], path: Path, overrides: Sequence[str] = (), defaults: Mapping[str, Any] | None = None) -> T:
    """Read a YAML file into a dataclass of dataclasses.

    A section that is given in part keeps the other values of its default.

    Args:
        overrides: ``--section.key value`` or ``--list[0].key=value`` arguments, which the file gives way to.
        defaults: values of keys that the file leaves out, where the dataclass has none.

    Raises:
        UserError: the file is missing, is not YAML or is wrong; the message has every mistake in a line of its own.
    """
    try:
        values, texts = read_yaml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(
            f"{quoted(path)} does not exist: give the path of a config file, such as configs/demo.yaml"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{quoted(path)} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{quoted(path)}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{quoted(path)}: it must hold keys and values; the keys are {keys_of(kind)}")
    return build(kind, {**(defaults or {}), **values}, overrides, quoted(path), texts)


def build(
    kind: type[T], values: dict[str, Any], overrides: Sequence[str], where: str, texts: dict[str, str] | None = None
) -> T:
    """A dataclass of dataclasses from nested values and overrides.

    Args:
        values: sections as mappings; changed by the overrides.
        texts: by path, what is written for each scalar, where that may differ from the value.
    """
    texts = {} if texts is None else texts
    reader = _Reader(kind, texts, override(kind, values, texts, overrides))
    config = reader.section(kind, values, "", UNKNOWN)
    if len(reader.mistakes) == 1:
        raise UserError(f"{where}: {reader.mistakes[0]}")
    if reader.mistakes:
        count = len(reader.mistakes)
        raise UserError(f"{where} has {count} mistakes:\n{listed(reader.mistakes, limit=count)}")
    return cast("T", config)


class _Partial:
    """A section in which something is wrong: its checks find the values that could be read, and no others."""

    def __init__(self, kind: type, values: Mapping[str, Any]) -> None:
        self.__dict__ = {name: value for name, value in values.items() if value is not UNKNOWN}
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        attribute: Any = getattr(self._kind, name, None)
        if not hasattr(attribute, "__get__"):  # a value that could not be read, not a method or a property
            raise UnknownValueError(name)
        return attribute.__get__(self)


@dataclass
class _Reader:
    """Reads sections, and collects what is wrong with them."""

    root: Any
    texts: dict[str, str]
    """By path, what is written for each scalar."""
    mistakes: list[str]

    def blame(self, path: str, value: object, allowed: str) -> None:
        """Note that a value is not what is allowed."""
        line = f"{path} is {shown(self.texts.get(path) or value)}; it must be {allowed}"
        if line not in self.mistakes:
            self.mistakes.append(line)

    def section(self, kind: Any, given: Any, where: str, default: Any) -> Any:
        """The dataclass; where something is wrong with it, a `_Partial`.

        Args:
            default: a dataclass of this kind whose values are kept where none are given; anything else is none.
        """
        if not isinstance(given, Mapping):
            self.blame(where, given, f"a section with the keys {keys_of(kind)}")
            return _Partial(kind, {})
        hints = hints_of(kind)
        self.mistakes.extend(unknown_key(self.root, kind, where, str(key)) for key in given if key not in hints)
        values = {}
        for one in fields(kind):
            path = joined(where, one.name)
            fallback = default_of(one, default)
            if one.name in given:
                values[one.name] = self._value(hints[one.name], given[one.name], path, fallback)
            else:
                values[one.name] = fallback
                if fallback is UNKNOWN:
                    self.mistakes.append(f"{path} is missing")
        return self._checked(kind, values, where)

    def _checked(self, kind: Any, values: dict[str, Any], where: str) -> Any:
        try:
            if all(map(_is_whole, values.values())):
                return kind(**values)
            if hasattr(kind, "__post_init__"):
                kind.__post_init__(_Partial(kind, values))
        except ConfigError as error:
            for mistake in error.mistakes:
                self.blame(joined(where, mistake.key), mistake.value, mistake.allowed)
        return _Partial(kind, values)

    def _value(self, hint: Any, given: Any, path: str, default: Any) -> Any:
        inside = section_in(hint)
        if inside is None or (given is None and NoneType in get_args(hint)):
            return self._plain(hint, given, path)
        if not is_list(hint):
            return self.section(inside, given, path, default)
        if not isinstance(given, list):
            self.blame(path, given, f"a list of sections with the keys {keys_of(inside)}")
            return UNKNOWN
        return [self.section(inside, child, f"{path}[{index}]", UNKNOWN) for index, child in enumerate(given)]

    def _plain(self, hint: Any, given: Any, path: str) -> Any:
        # JSON, because pydantic's strict reading of it takes lists for tuples, and neither true nor "5" for a number.
        # What JSON has no word for (a date, a set) is an object there, which no key may be.
        text = json.dumps(given, default=lambda value: {"": str(value)}, skipkeys=True)
        try:
            return _adapter(hint).validate_json(text, strict=True)
        except ValidationError as error:
            for where, value, allowed in _wrong(error, path):
                if allowed is None:
                    self.mistakes.append(f"{where} is missing")
                else:
                    self.blame(where, value, f"{allowed}, or null" if NoneType in get_args(hint) else allowed)
            return UNKNOWN


def _wrong(error: ValidationError, path: str) -> Iterator[tuple[str, object, str | None]]:
    """Paths of wrong values, the values, and what each must be; null where one is missing.

    Each alternative of a union has an error of its own. Those that look inside a list count most: the others only say
    that it is one.
    """
    found: dict[tuple[int, ...], list[ErrorDetails]] = {}
    for one in error.errors(include_url=False):
        found.setdefault(tuple(part for part in one["loc"] if isinstance(part, int)), []).append(one)
    if any(found):
        found.pop((), None)
    for indices, errors in found.items():
        where = path + "".join(f"[{index}]" for index in indices)
        alternatives = [_allowed(one) for one in errors]
        missing = any(one["type"] == "missing" for one in errors)
        yield where, errors[0]["input"], None if missing else " or ".join(dict.fromkeys(alternatives))


def _allowed(error: ErrorDetails) -> str:
    """The words for what the value must be, by pydantic's type of error."""
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "literal_error":
        words = str(context["expected"]).replace("'", "")
        return f"one of {words}" if " or " in words else words
    if kind in ("too_long", "too_short"):
        return f"a list of {context.get('max_length', context.get('min_length'))}"
    if kind == "string_type" and not isinstance(error["input"], list):
        return "text: quote it"
    return NAMES.get(kind, error["msg"])


def _is_whole(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_whole, value))
    return value is not UNKNOWN and not isinstance(value, _Partial)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)
