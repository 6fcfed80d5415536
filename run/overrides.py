"""Command-line overrides of a config file: ``--section.key value``, and into lists, ``--students[0].fit.lr=1e-3``.

An element with a name goes by it too: ``--students[mini].fit.lr=1e-3``.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from run.config import shown
from run.schema import hints_of, is_list, joined, section_in, unknown_key
from run.yaml_text import read_yaml


def override(root: Any, values: dict[str, Any], texts: dict[str, str], overrides: Sequence[str]) -> list[str]:
    """Put overrides in the place of a file's values.

    Args:
        root: the dataclass that the values are for.
        values: what the file holds; changed.
        texts: by path, what is written for each scalar; changed.

    Returns:
        What is wrong with them, a message each.
    """
    problems: list[str] = []
    for path, text in _pairs(overrides):
        try:
            _put(root, values, texts, path, text)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each key as it is written, and its value, null where none follows."""
    waiting = list(overrides)
    while waiting:
        key, equals, text = waiting.pop(0).partition("=")
        if equals:
            yield key, text
        else:
            yield key, waiting.pop(0) if key.startswith("--") and waiting and waiting[0][:2] != "--" else None


def _put(root: Any, values: dict[str, Any], texts: dict[str, str], option: str, text: str | None) -> None:
    if not option.startswith("--"):
        raise ValueError(f"{option} is neither a key nor a value of one: keys begin with --")
    steps = list(_steps(root, _numbered(values, option[2:])))
    if text is None:
        raise ValueError(f"{option} has no value: write {option} VALUE")
    place: Any = values
    for step, (_, _, after) in pairwise(steps):
        place = _enter(place, step, after)
    key, hint, where = steps[-1]
    _require_element(place, key, where)
    if hint is str:  # the shell has taken its quotes off already
        place[key] = text
        texts[where] = text
        return
    try:
        place[key], written = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{where} is {text}: {error}") from error
    texts |= {
        where + inner if inner[:1] in ("", "[") else joined(where, inner): word for inner, word in written.items()
    }


def _numbered(values: dict[str, Any], path: str) -> str:
    """``students[mini].fit`` as ``students[0].fit``; ``ValueError`` where no element has that name."""
    match = re.match(r"(\w+)\[([^\]]*\D[^\]]*)\]", path)
    if match is None:
        return path
    elements = values.get(match[1])
    names = [one.get("name") for one in elements if isinstance(one, dict)] if isinstance(elements, list) else []
    if match[2] not in names:
        there = ", ".join(str(name) for name in names if name)
        raise ValueError(f"there is no {match[0]}" + (f"; names there: {there}" if there else ""))
    return f"{match[1]}[{names.index(match[2])}]{path[match.end() :]}"


_Step = tuple[str | int, Any, str]
"""A key or an index, the type of what it leads to, and the path up to there."""


def _steps(root: Any, path: str) -> Iterator[_Step]:
    """The way to a key; ``ValueError`` where no dataclass has it, or a list is taken for a section."""
    kind = root  # null below a plain value
    hint = root
    where = ""
    for part in re.findall(r"\[\d+\]|[^.\[\]]+", path) or [path]:
        if part.startswith("["):
            hint = kind  # of the list's elements
            where += part
            yield int(part[1:-1]), hint, where
            continue
        if is_list(hint) and kind is not None:
            raise ValueError(f"{where} is a list: write --{where}[0].{part} for the first of it")
        if part not in hints_of(kind):
            raise ValueError(unknown_key(root, kind, where, part))
        hint, where = hints_of(kind)[part], joined(where, part)
        kind = section_in(hint)
        yield part, hint, where


def _enter(place: Any, step: _Step, after: str) -> Any:
    """The value of a key of ``place``; a section, or a list of sections, that the file leaves out is begun."""
    key, hint, where = step
    _require_element(place, key, where)
    inside = place[key] if isinstance(key, int) else place.get(key)
    if inside is None and section_in(hint):  # a list of sections is begun with its first
        inside = place[key] = [{}] if is_list(hint) else {}
    if inside is None and is_list(hint):
        raise ValueError(f"there is no {after}")
    if not isinstance(inside, dict | list):
        raise ValueError(f"there is no {after}: {where} is {shown(inside)}")
    return inside


def _require_element(place: Any, key: str | int, where: str) -> None:
    if isinstance(key, int) and not (isinstance(place, list) and key < len(place)):
        raise ValueError(f"there is no {where}")
