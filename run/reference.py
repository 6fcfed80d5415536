"""The reference of a config's keys, and the JSON schema by which editors complete them, made from its dataclasses."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter

from run.files import Json
from run.schema import ELSEWHERE, default_of, hints_of, is_list, joined, section_in

_INTRO = """# Every key of a config

Made from the dataclasses by `pocketeva config --reference`; a test compares it. `pocketeva config my.yaml` prints a
config with all of its defaults. Every key can be given on the command line: `--teacher.full.lr 1e-4`,
`--students[0].fit.epochs 20`. A section that is given in part keeps its other defaults.

Editors that know YAML complete and check keys in a file that starts with this line; `pocketeva init` writes it:

```yaml
# yaml-language-server: $schema=/path/to/PocketEVA/configs/schema.json
```
"""

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "`true`, `false`", NoneType: "`null`"}


@cache
def docs_of(kind: Any) -> Mapping[str, str]:
    """The docstring under each field of a dataclass, those it inherits too."""
    found: dict[str, str] = {}
    for base in reversed([base for base in inspect.getmro(kind) if is_dataclass(base)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(field.target, ast.Name):
                found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def reference(root: Any) -> str:
    """A Markdown page with a table for each section of a dataclass: key, what it may be, default, meaning."""
    return "\n".join([_INTRO, *_section(root, "", MISSING, {})]) + "\n"


def schema(root: Any) -> str:
    """The JSON schema (2020-12) of a dataclass: pydantic's own, with docstrings, and without any other key."""
    whole = TypeAdapter(root).json_schema()
    definitions = whole.pop("$defs")
    kinds = {kind.__name__: kind for kind in _kinds(root)}
    # A section with a default keeps it for what is left out, so only one that has to be given can lack a key.
    needed = {root, *(section_in(hints_of(kind)[one.name]) for kind in kinds.values() for one in _required(kind))}
    for name, definition in [*definitions.items(), (root.__name__, whole)]:
        _describe(definition, kinds[name])
        definition["required"] = [one.name for one in _required(kinds[name]) if kinds[name] in needed]
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": definitions}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _describe(definition: dict[str, Any], kind: Any) -> None:
    definition["additionalProperties"] = False
    for key, found in definition["properties"].items():
        found.pop("title", None)
        if section_in(hints_of(kind)[key]):
            found.pop("default", None)  # a partial section keeps the rest of it, which a default here would not say
        found["description"] = docs_of(kind)[key].replace("``", "`")


def _required(kind: Any) -> Iterator[Any]:
    return (one for one in fields(kind) if one.default is one.default_factory is MISSING and not one.metadata)


def _kinds(root: Any) -> Iterator[Any]:
    yield root
    for hint in hints_of(root).values():
        if inside := section_in(hint):
            yield from _kinds(inside)


def _section(kind: Any, where: str, default: Any, shown: dict[Any, str]) -> Iterator[str]:
    """Its table, then its sections; one that is left out unless asked for refers to where its keys are shown."""
    if where:
        yield f"\n## `{where}`\n{str(kind.__doc__).splitlines()[0].replace('``', '`')}\n"
    twin = next((place for other, place in shown.items() if issubclass(other, kind)), None)
    if twin is not None and default is None:
        yield f"The keys of `{twin}` that it has in common: {', '.join(f'`{one.name}`' for one in fields(kind))}."
        return
    shown.setdefault(kind, where)
    sections = []
    yield from ("| key | may be | default | meaning |", "| --- | --- | --- | --- |")
    for one in fields(kind):
        hint = hints_of(kind)[one.name]
        value = default_of(one, default)
        inside = section_in(hint)
        path = joined(where, one.name) + "[]" * is_list(hint)
        if inside:
            sections.append((inside, path, value))
        allowed = f"[a section](#{_anchor(path)})" if inside else _allowed(hint)
        allowed = f"a list of [sections](#{_anchor(path)})" if inside and is_list(hint) else allowed
        text = docs_of(kind)[one.name].replace("``", "`").replace("|", "\\|")
        given = "" if inside else one.metadata.get(ELSEWHERE) or _written(value)
        yield f"| `{one.name}` | {allowed} | {given} | {text} |"
    for inside, path, value in sections:
        first = value[0] if isinstance(value, list) and value else value
        yield from _section(inside, path, first, shown)


def _anchor(path: str) -> str:
    """GitHub's name for the heading of a section."""
    return "".join(sign for sign in path.casefold() if sign.isalnum() or sign in "_-")


def _written(value: Any) -> str:
    if value is MISSING:
        return "**needed**"
    plain: Json = list(value) if isinstance(value, tuple) else value
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(plain, ensure_ascii=False)}`"


def _allowed(hint: Any) -> str:
    """The words for a type."""
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if get_origin(hint) in (Union, UnionType):
        return ", ".join(map(_allowed, inner))
    if get_origin(hint) is list or inner[1:] == (Ellipsis,):
        return f"a list of ({_allowed(inner[0])})"
    if get_origin(hint) is dict:
        return f"keys with {_allowed(inner[1])} each"
    if get_origin(hint) is tuple:
        return f"{len(inner)} × {_allowed(inner[0])}"
    return _WORDS[hint]
