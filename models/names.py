"""Names of models, checked without the seconds that importing timm takes: a wrong one is refused before any work."""

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from models.facts import public_name
from run.errors import UserError, quoted

_REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")
_DEPRECATED = re.compile(r"register_model_deprecations\(__name__, \{(.*?)\}\)", re.DOTALL)


def require_name(name: str, key: str, *, pretrained: bool) -> None:
    """Refuse a model that can only be one of timm's and is none, or a folder that is not there.

    An id on the Hub is asked for later.

    Args:
        name: as for ``models.building.build``.
        pretrained: without weights, every name is one of timm's.

    Raises:
        UserError: timm has no such architecture, and the message has the nearest; or there is no such folder.
    """
    folder = Path(name.removeprefix("local-dir:"))
    if pretrained and not public_name(name) and not folder.is_dir():
        raise UserError(f"{key}.model: there is no folder {quoted(folder)}")
    elsewhere = "/" in name.removeprefix("hf-hub:") or name.startswith("local-dir:") or Path(name).is_dir()
    if not (pretrained and elsewhere):
        require_architecture(name, key)


def require_architecture(name: str, key: str) -> str:
    """The architecture of a timm name."""
    architecture = architecture_of(name)
    if architecture not in architectures():
        near = nearest(architecture)
        raise UserError(f"{key}.model: timm has no {architecture!r}" + (f"; near: {', '.join(near)}" if near else ""))
    return architecture


def nearest(architecture: str) -> list[str]:
    """Up to three names of timm's that are most like one that it does not have."""
    known = sorted(architectures())
    return difflib.get_close_matches(architecture, known, n=3) or [one for one in known if architecture in one][:3]


def architecture_of(name: str) -> str:
    """A timm name without its weight tag."""
    return name.partition("@")[0].split("/")[-1].split(".")[0]


@cache
def architectures() -> frozenset[str]:
    """Every name that timm registers, older spellings included, as its source has them."""
    timm = find_spec("timm")
    if timm is None or timm.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'timm'", name="timm")
    modules = Path(timm.submodule_search_locations[0], "models").glob("*.py")
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    older = [name for table in _DEPRECATED.findall(source) for name in re.findall(r"'(\w+)'\s*:", table)]
    return frozenset(_REGISTERED.findall(source) + older)
