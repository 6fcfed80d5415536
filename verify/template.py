"""Jinja2 templates of the pages that stay on this machine: whatever comes from people is escaped, and redacted."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from run.text import escaped, redacted


@cache
def environment(folder: Path) -> Environment:
    """The templates in a folder."""

    def shown(value: Any) -> Any:
        return escaped(redacted(value)) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
