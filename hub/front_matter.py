"""The YAML at the top of a model card; whoever wrote it may be a stranger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from run.errors import UserError, quoted
from run.yaml_text import read_yaml

CARD = "README.md"
LARGEST = 2**20
"""Bytes of a card that are read."""


def front_matter(card: Path) -> Mapping[str, Any]:
    """The entries; none where there is no card, or nothing at its top.

    Raises:
        UserError: it is no YAML.
    """
    if not card.is_file():
        return {}
    with card.open("rb") as file:
        text = file.read(LARGEST).decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
    opening, mark, rest = text.partition("---\n")
    head, end, _ = rest.partition("\n---")
    if opening or not mark or not end:
        return {}
    try:
        found, _ = read_yaml(head)
    except (RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{quoted(card)}: its first lines are no YAML: {reason}") from None
    return found if isinstance(found, Mapping) else {}


def license_of(card: Path) -> str | None:
    """The license that a card names; null where it names none."""
    entries = front_matter(card)
    name = entries.get("license_name") if entries.get("license") == "other" else None
    said = name or entries.get("license")
    said = said[0] if isinstance(said, list) and said else said
    return said[:100] if isinstance(said, str) else None
