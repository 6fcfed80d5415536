"""Pretrained weights that models were made from, and their licenses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from export.release import TEACHER, Release, ReleasedModel
from hub.front_matter import CARD, license_of
from hub.names import is_license, refusal
from models.facts import CheckpointFacts, public_name
from run.errors import UserError
from run.text import code_span

FREE = frozenset(
    (
        *("apache-2.0", "mit", "isc", "zlib", "ms-pl", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
        *("unlicense", "cc0-1.0", "wtfpl", "pddl", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
        *("afl-3.0", "artistic-2.0", "bsl-1.0", "ecl-2.0", "ncsa", "postgresql", "openmdw-1.0", "openmdw-1.1"),
        *("cdla-permissive-1.0", "cdla-permissive-2.0"),
    )
)
"""Licenses that let weights made from theirs have another one."""


@dataclass(frozen=True)
class Origin:
    """Pretrained weights that went into a model."""

    model: str
    """The model that began with them, for people."""
    base: str
    """Their public name; empty for a folder of the author's machine."""
    license: str | None
    """Null where nobody says it."""

    @property
    def words(self) -> str:
        """For cards."""
        if not self.base:
            return (
                f"{self.model} began with weights in a folder of its author's machine, whose license is not known here"
            )
        said = code_span(self.license) if self.license else "not known here"
        return f"{self.model} began with the weights {code_span(self.base)}, whose license is {said}"


def origins(model: ReleasedModel) -> list[Origin]:
    """The pretrained weights of a model and, because their answers taught it, of a student's teacher."""
    named = [("this model", model)]
    if model.name != TEACHER:
        named.append(("its teacher", Release(model.release).model(TEACHER)))
    facts = [(who, CheckpointFacts.read(one.checkpoint)) for who, one in named if one.checkpoint.is_dir()]
    return [
        Origin(who, public_name(one.base_model), license_of_base(one.base_model))
        for who, one in facts
        if one.pretrained
    ]


def license_of_base(base_model: str) -> str | None:
    """License of pretrained weights, as timm has it or, for others of the Hub, the card that was fetched with them."""
    name, _, revision = public_name(base_model).removeprefix("hf-hub:").partition("@")
    found = _license_on_card(name, revision or None) if "/" in name else None
    if found is None and name and (name.startswith("timm/") or "/" not in name):
        found = _license_by_timm(name.removeprefix("timm/"))
    said = (found or "").strip().lower()
    return None if said in ("", "unknown") else said


def _license_on_card(name: str, revision: str | None) -> str | None:
    card = None if refusal(name) else try_to_load_from_cache(name, CARD, revision=revision)
    try:
        return license_of(Path(card)) if isinstance(card, str) else None
    except UserError:  # a card of strangers that cannot be read says nothing
        return None


def _license_by_timm(name: str) -> str | None:
    import timm  # takes seconds, and torch

    try:
        cfg = timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError:  # weights that are newer than this timm
        return None
    return cfg.license if cfg is not None else None


def require_carried(models: Sequence[ReleasedModel], license_name: str) -> None:
    """Refuse a license that takes back what the license of pretrained weights asks for.

    Raises:
        UserError: one asks to be carried, and ``hub.license`` is another.
    """
    for model in models:
        for one in origins(model):
            if one.license and one.license not in FREE and license_name not in (one.license, "other"):
                its_own = f"{one.license}, or " if is_license(one.license) else ""
                raise UserError(
                    f"hub.license is {license_name}, and {model.name} may not have it: {one.words}. Weights made from "
                    f"those carry their terms: say hub.license {its_own}other with the terms in hub.limits"
                )
