"""Records: frozen dataclasses that an ONNX folder keeps as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from run.errors import UserError, quoted
from run.files import Json, json_of, write_json

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """A file of an ONNX folder; its class says how the fields become JSON and back, where one name is not the other."""

    FILE: ClassVar[str]

    def to_json(self) -> dict[str, Json]:
        """Content of the file."""
        return asdict(self)

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Self:
        """The record that ``to_json`` described."""
        return record_of(cls, stored)

    def write(self, folder: Path) -> None:
        """Write it into an ONNX folder."""
        write_json(folder / self.FILE, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from an ONNX folder.

        Raises:
            UserError: it is missing or damaged.
        """
        path = folder / cls.FILE
        again = "run `pocketeva export` again"
        stored = json_of(path, again)
        try:
            return cls.of_json(stored)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"{quoted(path)} cannot be read ({error}): {again}") from error

    @classmethod
    def read_if_there(cls, folder: Path) -> Self | None:
        """As ``read``; null where there is no such file."""
        return cls.read(folder) if (folder / cls.FILE).is_file() else None


def record_of(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A dataclass from a JSON object; keys that are no field of it are passed over.

    Raises:
        ValueError: a field is missing, or of another type.
    """
    try:
        return TypeAdapter(kind).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
