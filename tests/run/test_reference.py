import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

import pocketeva
from pocketeva import Config
from run.console import console
from run.reference import docs_of, reference, schema
from run.schema import paths
from run.yaml_text import read_yaml

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part."""

    size: int
    """Its size."""
    pair: tuple[float, float] = (0.5, 1.0)
    """Two numbers,
    on two lines | with a bar."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A whole."""

    kind: Literal["a", "b"] = "a"
    """``a`` or b."""
    given: Inner
    """Needed."""
    more: list[Inner] = field(default_factory=lambda: [Inner(size=3)])
    """Some."""


def test_docs_of__joins_lines_and_inherits() -> None:
    @dataclass
    class Plain:
        x: int

    assert docs_of(Inner) == {"size": "Its size.", "pair": "Two numbers, on two lines | with a bar."}
    assert docs_of(Plain) == {}


def test_reference__a_table_for_each_section() -> None:
    page = reference(Outer)
    assert page.startswith("# Every key of a config\n")
    assert "| `kind` | `a`, `b` | `a` | `a` or b. |" in page
    assert "| `more` | a list of [sections](#more) |  | Some. |" in page
    needed, defaulted = page.split("## `more[]`")
    assert "| `size` | a whole number | **needed** | Its size. |" in needed
    assert "| `size` | a whole number | `3` | Its size. |" in defaulted
    assert r"| `pair` | 2 × a number | `[0.5, 1.0]` | Two numbers, on two lines \| with a bar. |" in defaulted


def made(*arguments: str) -> str:
    with console.capture() as capture:
        assert pocketeva.main(["config", *arguments]) == 0
    return capture.get()


@pytest.mark.parametrize(("argument", "file"), [("--reference", "docs/config.md"), ("--schema", "configs/schema.json")])
def test_config__the_files_are_as_they_would_be_made(argument: str, file: str) -> None:
    stale = f"{file} is stale: pocketeva config {argument} > {file}"
    assert made(argument) == (REPOSITORY / file).read_text(encoding="utf-8"), stale


def test_reference__has_every_key() -> None:
    page = (REPOSITORY / "docs/config.md").read_text(encoding="utf-8")
    for path in paths(Config):
        section, _, key = path.replace("[0]", "[]").rpartition(".")
        part = page.split(f"## `{section}`\n")[1].split("\n## ")[0] if section else page
        assert f"`{key}`" in part, path


def test_config__prints_what_a_file_resolves_to(tmp_path: Path) -> None:
    printed = tmp_path / "printed.yaml"
    printed.write_text(made(str(CONFIGS[0]), "--seed", "3", "--students[0].fit.lr=0.5"))
    config = pocketeva.read_config(printed)
    assert config == pocketeva.read_config(CONFIGS[0], ["--seed", "3", "--students[0].fit.lr=0.5"])


def violations(rule: Mapping[str, Any], value: Any, root: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What JSON Schema says is wrong with a value, for the words that pydantic uses."""
    if "$ref" in rule:
        yield from violations(root["$defs"][rule["$ref"].rpartition("/")[2]], value, root, where)
    if "anyOf" in rule and not any(not list(violations(one, value, root)) for one in rule["anyOf"]):
        yield f"{where}: {value}"
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    kind: Any = {**kinds, "object": dict, "array": list}.get(rule.get("type", ""), object)
    if not isinstance(value, kind) or (isinstance(value, bool) and rule.get("type") in ("integer", "number")):
        yield f"{where} is no {rule['type']}"
    elif value not in rule.get("enum", [rule.get("const", value)]):
        yield f"{where}: {value}"
    elif isinstance(value, dict):
        known = rule.get("properties", {})
        yield from (f"{where}.{key} is no key" for key in value if key not in known and "additionalProperties" in rule)
        yield from (f"{where}.{key} is missing" for key in rule.get("required", []) if key not in value)
        for key in known.keys() & value.keys():
            yield from violations(known[key], value[key], root, f"{where}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            inner = rule["prefixItems"][index] if "prefixItems" in rule else rule.get("items", {})
            yield from violations(inner, one, root, f"{where}[{index}]")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_schema__shipped_configs_name_it_and_keep_to_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(.+)\n", text)
    assert named is not None
    rules, _ = read_yaml((path.parent / named[1]).read_text(encoding="utf-8"))
    assert list(violations(rules, read_yaml(text)[0], rules)) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ("nope: 1", ".nope is no key"),
        ("teacher: {full: {lrr: 1}}", ".teacher.full.lrr is no key"),
        ("labels: {kind: nominal}", ".labels.names is missing"),
        ("seed: x", ".seed is no integer"),
        ("data: {format: zip}", ".data.format: zip"),
        ("students: [{fit: {lr: fast}}]", ".students[0].fit.lr is no number"),
        ("views: {crop_scale: [0.5, x]}", ".views.crop_scale[1] is no number"),
        ("trainer: {num_workers: few}", ".trainer.num_workers: few"),
    ],
)
def test_schema__says_what_a_config_may_not_be(change: str, violation: str) -> None:
    rules, _ = read_yaml(schema(Config))
    config = {"labels": {"names": ["a", "b"]}, "data": {}}
    assert list(violations(rules, config, rules)) == []
    assert list(violations(rules, {**config, **read_yaml(change)[0]}, rules)) == [violation]
