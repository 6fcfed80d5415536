"""Records: frozen dataclasses that a release keeps as JSON."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from run.errors import UserError

T = TypeVar("T")


def record_of(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A dataclass from the JSON object of its fields; keys that are no field of it are passed over.

    Raises:
        ValueError: a field is missing, or of another type.
    """
    try:
        return TypeAdapter(kind).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_record(path: Path, of_json: Callable[[Mapping[str, Any]], T]) -> T:
    """Read a JSON file of a release.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return of_json(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): run `pocketeva export` again") from error
