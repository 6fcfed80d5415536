"""A YAML file and command-line overrides as frozen dataclasses; every complaint names the key by its whole path."""

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from run.errors import UserError

T = TypeVar("T")


def parse(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a YAML file into a dataclass of dataclasses.

    Args:
        kind: the dataclass.
        path: the file.
        overrides: ``--section.key value`` arguments, which the file gives way to.

    Raises:
        UserError: the file is missing or wrong; the message names the file and the key.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: give the path of a config file, such as configs/demo.yaml")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config", help=argparse.SUPPRESS)
    parser.add_class_arguments(kind)
    try:
        _require_mapping(yaml.safe_load(path.read_text(encoding="utf-8")), kind)
        for override in overrides:
            if override.startswith("--"):
                _require_key(kind, override[2:].split("=")[0])
        values = parser.parse_args([f"--config={path}", *overrides]).as_dict()
        del values["config"]
        config: T = _build(kind, values, "")
        return config
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise UserError(f"{path}: {_plain(str(error))}") from error


def _require_mapping(loaded: object, kind: Any) -> None:
    if not isinstance(loaded, Mapping):
        sections = ", ".join(field.name for field in fields(kind))
        raise ValueError(f"it must hold keys and values; the keys are {sections}")
    _require_keys(kind, loaded, "")


def _require_keys(kind: Any, value: object, where: str) -> None:
    """Refuse keys that the dataclass, or one inside it, does not have. Types are not looked at."""
    inside = _element(kind)
    if inside is not None and isinstance(value, list):
        for index, child in enumerate(value):
            _require_keys(inside, child, f"{where}[{index}]")
    if not is_dataclass(kind) or not isinstance(value, Mapping):
        return
    hints = get_type_hints(kind)
    for key, child in value.items():
        if key not in hints:
            raise ValueError(_unknown(_join(where, str(key)), str(key), where, hints))
        _require_keys(hints[key], child, _join(where, key))


def _require_key(kind: Any, dotted: str) -> None:
    """Refuse the key of an override that no dataclass has."""
    where = ""
    for name in dotted.rstrip("+").split("."):
        hints = get_type_hints(_element(kind) or kind) if is_dataclass(_element(kind) or kind) else {}
        if name not in hints:
            raise ValueError(_unknown(dotted, name, where, hints))
        kind, where = hints[name], _join(where, name)


def _unknown(dotted: str, name: str, where: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no key {dotted}" + (f"; did you mean {_join(where, near[0])}?" if near else "")


def _build(kind: Any, value: Any, where: str) -> Any:
    """The dataclass for values whose types are already right."""
    inside = _element(kind)
    if inside is not None and value is not None:
        return [_build(inside, child, f"{where}[{index}]") for index, child in enumerate(value)]
    if not is_dataclass(kind) or value is None:
        return value
    hints = get_type_hints(kind)
    given = {key: _build(hints[key], child, _join(where, key)) for key, child in value.items()}
    try:
        return kind(**given)  # type: ignore[operator]
    except ValueError as error:
        raise ValueError(_located(str(error), where)) from error


def _located(message: str, where: str) -> str:
    """The message with the whole path of its key: a section used in several places does not know its own."""
    known = re.sub(r"\[\d+\]", "[]", where)
    return where + message.removeprefix(known) if message.startswith(known) else _join(where, message)


def _plain(message: str) -> str:
    """What jsonargparse says of a wrong or missing value, in one line: ``teacher.full.lr is x; it must be float``."""
    keys = re.findall(r'Parser key "([^"]+)":', message)
    reason = " ".join(re.sub(r'Parser key "[^"]+":|Problem with given class_path \S+:', "", message).split())
    reason = re.sub(r"<class '(\w+)'>", r"\1", re.sub(r"typing\.Literal\[(.+?)\]", r"one of \1", reason))
    where = "[].".join(keys)
    missing = re.fullmatch(r"the following arguments are required: (.+)", reason)
    if missing:
        return f"{where}[].{missing[1]} is missing" if where else f"{missing[1]} is missing"
    wrong = re.fullmatch(r"Expected a (.+)\. Got value: (.*)", reason)
    if wrong:
        return f"{where} is {wrong[2]}; it must be {wrong[1]}"
    none_fits = re.fullmatch(r"Does not validate .+? Subtypes: \[(.+?)\] Errors: .+ Given value: (.*)", reason)
    if none_fits:
        allowed = none_fits[1].replace("NoneType", "null").replace(", ", " or ")
        return f"{where} is {none_fits[2]}; it must be {allowed}"
    return f"{where}: {reason}" if where else reason


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _element(kind: Any) -> Any:
    """The dataclass that a list is made of; null for any other type."""
    inside = get_args(kind)
    return inside[0] if getattr(kind, "__origin__", None) is list and is_dataclass(inside[0]) else None
