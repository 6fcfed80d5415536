"""The key of a view cache: everything its numbers depend on. It names the folder that they lie in."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cache.top_labels import RECORD, K, keeps_all
from data.views import ViewSpec
from models.classifier import Classifier
from models.forward import Output
from models.spec import InputSpec
from run.console import log
from run.errors import UserError, listed
from run.files import Json, json_digest, read_json, write_json

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
    """A compiled model gives other last digits."""
    width: int
    """Numbers per image and view."""
    layout: Layout
    """``all`` numbers are kept, or the ``top`` ones (``cache.top_labels``)."""

    @classmethod
    def of(
        cls, classifier: Classifier, output: Output, views: ViewSpec, precision: str, *, compiled: bool = False
    ) -> "CacheKey":
        """The key of a frozen model's outputs."""
        features = output == "features"
        labels = classifier.labels
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
            layout="all" if features or keeps_all(width, exclusive=labels.exclusive) else "top",
        )

    def to_json(self) -> dict[str, Json]:
        """All fields, the digests of input contract and views (which also name the code) among them."""
        # Through JSON: the key is compared with one that was read from a file, where tuples are lists.
        fields: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        return {**fields, "digests": {"input": self.input.digest, "views": self.views.digest, "kept": K}}

    @property
    def bytes_each(self) -> int:
        """Bytes stored for each image and view."""
        return 2 * self.width if self.layout == "all" else RECORD.itemsize

    @property
    def folder_name(self) -> str:
        """``features-…`` or ``logits-…``, with 12 digits of the key's digest."""
        return f"{self.output}-{json_digest(self.to_json())[:12]}"


@dataclass(frozen=True)
class ViewCache:
    """The folder of one key below a run's ``cache``. Opening it and reading it write nothing; ``cache.fill`` does."""

    root: Path
    key: CacheKey

    @property
    def folder(self) -> Path:
        """Shards, plans and ``key.json``, where something was cached."""
        return self.root / self.key.folder_name

    def is_recorded(self) -> bool:
        """True where the folder's ``key.json`` holds this very key.

        Raises:
            UserError: it holds another one.
        """
        there = _read(self.folder)
        wanted = self.key.to_json()
        if there is not None and there != wanted:
            raise UserError(
                f"{self.folder} does not hold what its name says, but a cache of another kind:\n"
                f"{listed(differences(there, wanted))}\nMove it away."
            )
        return there is not None

    def record(self) -> None:
        """Write ``key.json`` where it is missing; where other caches of this output are there, the log says so.

        Raises:
            UserError: the folder holds the cache of another key.
        """
        if self.is_recorded():
            return
        wanted = self.key.to_json()
        # Before the file is written, or this cache would be among the others.
        others = [
            f"{folder.name} ({', '.join(differences(there, wanted))})"
            for folder in sorted(self.root.glob(f"{self.key.output}-*"))
            if (there := _read(folder)) and not _beside(there, wanted)
        ]
        if others:
            log.print(
                f"no cache of these {self.key.output} yet; what is there does not fit: {'; '.join(others)}",
                soft_wrap=True,
            )
        write_json(self.folder / "key.json", wanted)


def differences(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The differences between a cache's key and the one wanted, in the user's words."""
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
    key = read_json(folder / "key.json")
    return key if isinstance(key, dict) and isinstance(key.get("views"), dict) else None


def _beside(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """True where one is of working copies and the other of originals: a run with ``data.working_size`` has both."""
    alike = [{**key, "views": {**key["views"], "working_size": None}, "digests": None} for key in (there, wanted)]
    of_copies = [key["views"].get("working_size") is not None for key in (there, wanted)]
    return of_copies[0] != of_copies[1] and alike[0] == alike[1]
