"""What a view cache's numbers depend on, the folder it therefore lies in, and which others lie beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cache.top_labels import K, keeps_all
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import Output
from models.spec import InputSpec
from run.console import log
from run.errors import UserError, listed
from run.files import Json, json_digest, write_json

Layout = Literal["all", "top"]


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """Everything that the cached numbers depend on, besides the images and view indices."""

    output: Output
    weights: str
    """Digest of the weights that matter: all of them for logits, those before the head for features."""
    labels: str
    """Digest of the label set for logits; empty for features, which serve any."""
    input: InputSpec
    views: ViewSpec
    precision: str
    compiled: bool
    """Whether the model was compiled, which changes last digits."""
    width: int
    """Numbers per image and view."""
    layout: Layout
    """``all`` numbers are kept, or the ``top`` ones (``cache.top_labels``)."""

    @classmethod
    def of(
        cls, classifier: Classifier, output: Output, views: ViewSpec, precision: str, *, compiled: bool = False
    ) -> "CacheKey":
        """The key of a frozen model's outputs."""
        features, labels = output == "features", classifier.labels
        width = classifier.feature_width if features else len(labels)
        return cls(
            output=output,
            weights=classifier.weights_digest(backbone_only=features),
            labels="" if features else labels.digest,
            input=classifier.spec,
            views=views,
            precision=precision,
            compiled=compiled,
            width=width,
            layout="all" if features or keeps_all(width, labels.kind) else "top",
        )

    def to_json(self) -> dict[str, Json]:
        """All fields, the digests of input contract and views (which also name the code) among them."""
        fields: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        return {**fields, "digests": {"input": self.input.digest, "views": self.views.digest, "kept": K}}

    @property
    def folder_name(self) -> str:
        """``features-…`` or ``logits-…``, with 12 digits of the key's digest."""
        return f"{self.output}-{json_digest(self.to_json())[:12]}"


def claim(root: Path, key: CacheKey) -> Path:
    """The folder of a key, made if need be; where others of the same output are there but not this, the log says so.

    Raises:
        UserError: the folder that bears the key's name holds a cache with another key.
    """
    folder, wanted = root / key.folder_name, key.to_json()
    there = _read(folder)
    if there is not None and there != wanted:
        raise UserError(
            f"{folder} does not hold what its name says, but a cache of another kind:\n"
            f"{listed(differences(there, wanted))}\nMove it away."
        )
    if there is None:
        _say_what_does_not_fit(root, key)
        write_json(folder / "key.json", wanted)
    return folder


def differences(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what a cache's key differs from the one wanted, in the user's words."""
    words = {"weights": "another teacher", "labels": "another label set"}
    result = []
    for name, value in wanted.items():
        other = there.get(name)
        if other == value or name == "digests":
            continue
        if name in words:
            result.append(words[name])
        elif isinstance(value, dict) and isinstance(other, dict):
            inner = [
                f"{field} {other.get(field)} → {value[field]}" for field in value if other.get(field) != value[field]
            ]
            result.append(f"{name} differ: {', '.join(inner)}")
        else:
            result.append(f"{name} {other} → {value}")
    return result or ["it is of another version of PocketEVA"]


def _read(folder: Path) -> dict[str, Any] | None:
    """The key of the cache in a folder; none where there is none or it cannot be read."""
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return key if isinstance(key, dict) and isinstance(key.get("views"), dict) else None


def _say_what_does_not_fit(root: Path, key: CacheKey) -> None:
    wanted = key.to_json()
    others = [
        (folder, there)
        for folder in sorted(root.glob(f"{key.output}-*"))
        if (there := _read(folder)) and not _beside(there, wanted)
    ]
    if others:
        reasons = "; ".join(f"{folder.name} ({', '.join(differences(there, wanted))})" for folder, there in others)
        log.print(f"no cache of these {key.output} yet; what is there does not fit: {reasons}", soft_wrap=True)


def _beside(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether one is of working copies and the other of originals: a run with ``data.working_size`` has both."""
    of_copies = [key["views"].get("working_size") is not None for key in (there, wanted)]
    plain = [{**key, "views": {**key["views"], "working_size": None}, "digests": None} for key in (there, wanted)]
    return of_copies[0] != of_copies[1] and plain[0] == plain[1]
