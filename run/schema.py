"""The keys of a dataclass of dataclasses: which there are, what each may hold, and which one was meant."""

import difflib
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

ELSEWHERE = "elsewhere"
"""In a field's metadata, the words for where its value comes from in a file that leaves it out."""


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; nothing for any other type."""
    return get_type_hints(kind) if is_dataclass(kind) else {}


def section_in(hint: Any) -> Any:
    """The dataclass that a value, or each element of a list, has to be; null for plain values."""
    return next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)


def is_list(hint: Any) -> bool:
    """A list of whatever."""
    return get_origin(hint) is list


def default_of(field: Any, section: Any) -> Any:
    """A field's value where none is given: the section's own, or else that of the dataclass; ``MISSING`` for none."""
    if is_dataclass(section):
        return getattr(section, field.name)
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def keys_of(kind: Any) -> str:
    """The names of a dataclass's fields, for messages."""
    return ", ".join(field.name for field in fields(kind))


def joined(where: str, key: str) -> str:
    """The path of a key inside the section at ``where``."""
    return f"{where}.{key}" if where else key


def unknown_key(root: Any, kind: Any, where: str, name: str) -> str:
    """The message that the section at ``where`` has no such key, with the nearest one there is.

    Nearest is a similar name in the same section, else the same name in another one.
    """
    near = [joined(where, key) for key in difflib.get_close_matches(name, hints_of(kind), n=1)]
    elsewhere = [path for path in paths(root) if path.rpartition(".")[2] == name]
    near += sorted(elsewhere, key=lambda path: (not path.startswith(f"{where}."), path.count(".")))
    return f"there is no key {joined(where, name)}" + (f"; did you mean {near[0]}?" if near else "")


def paths(kind: Any, where: str = "") -> Iterator[str]:
    """Every key below ``where``, such as ``students[0].fit.lr``; of a list's elements, the first stands for all."""
    for name, hint in hints_of(kind).items():
        yield joined(where, name)
        if inside := section_in(hint):
            yield from paths(inside, joined(where, name) + "[0]" * is_list(hint))
