"""Jinja2 templates: Markdown, and pages of HTML."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from run.text import escaped, redacted


def render(path: Path, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """Fill a template; in HTML, whatever comes from people is escaped, and redacted."""
    is_html = path.suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(),
        finalize=_shown if is_html else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not is_html,
    )
    environment.filters |= filters or {}
    return environment.get_template(path.name).render(values)


def _shown(value: Any) -> Any:
    return escaped(redacted(value)) if isinstance(value, str) and not isinstance(value, Markup) else value
