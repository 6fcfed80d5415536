"""YAML as people write it: ``1e-4`` is a number, no key counts twice, and no alias makes a small file large."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from yaml.reader import ReaderError

from run.schema import joined

MOST_VALUES = 100_000
"""In one file, aliases counted as often as they are used: nested aliases make billions of values from a few lines."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; YAML 1.2's numbers without a point before the exponent are numbers here too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _or_text(construct: Callable[[yaml.SafeLoader, yaml.ScalarNode], Any]) -> Callable[[Any, Any], Any]:
    """A constructor that gives what looks like a number or a date and is none as text: ``0x_``, ``2026-13-45``."""

    def constructed(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, IndexError, AttributeError):
            return node.value

    return constructed


for _tag in ("int", "float", "timestamp"):
    _name = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_constructor(_name, _or_text(yaml.SafeLoader.yaml_constructors[_name]))


def read_yaml(text: str) -> tuple[Any, dict[str, str]]:
    """The value of a YAML document, and by path what is written for each scalar.

    What is written differs from the value where YAML has words of its own: ``no`` is false, ``007`` is 7. A path is
    such as ``students[0].fit.lr``, and empty for a document that is one scalar.

    Raises:
        ValueError: it is not YAML, a key is given twice, or aliases make it too large; the message gives the line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _require_sound(node)
        return _unshared(loader.construct_document(node)), dict(_scalars(node, ""))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"it is not YAML: line {line}: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"it is not YAML: {place}{error.problem}") from error
    except RecursionError:
        raise ValueError("it is not YAML that can be read: it is nested too deeply") from None


def _require_sound(root: yaml.Node) -> None:
    """Refuse keys that are given twice, and documents that are larger than ``MOST_VALUES`` or endless."""
    sizes: dict[int, int] = {}  # aliases make one node the child of many: each is looked at once
    above: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in above:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias stands inside of what it stands for")
        if id(node) not in sizes:
            above.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
            above.discard(id(node))
        return sizes[id(node)]

    if size(root) > MOST_VALUES:
        raise ValueError(f"its aliases make it {size(root):,} values large; {MOST_VALUES:,} are allowed")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    lines: dict[str, int] = {}
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        line = key.start_mark.line + 1
        if key.value in lines:
            raise ValueError(f"line {line}: the key {key.value} is given twice, first in line {lines[key.value]}")
        lines[key.value] = line
    return [child for pair in node.value for child in pair]


def _scalars(node: yaml.Node, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.ScalarNode):
        yield where, node.value
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _scalars(child, f"{where}[{index}]")
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            yield from _scalars(child, joined(where, str(key.value)))


def _unshared(value: Any) -> Any:
    """A copy in which no list or mapping stands in two places, so that changing one leaves the others alone."""
    if isinstance(value, list):
        return [_unshared(child) for child in value]
    if isinstance(value, dict):
        return {key: _unshared(child) for key, child in value.items()}
    return value
