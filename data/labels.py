"""The ordered label set that every artifact carries."""

import difflib
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from data.config import Kind, LabelsConfig
from run.errors import UserError
from run.files import Json, json_digest

_TIE = 0.5
"""Target of a label of a multilabel set that as many votes are for as against."""
_SHOWN = 20
"""Names that a message about an unknown label lists."""


@dataclass(frozen=True)
class LabelSet:
    """Label names in the order of the model's outputs; ordinal sets ascend in severity."""

    names: tuple[str, ...]
    kind: Kind

    @classmethod
    def of(cls, config: LabelsConfig) -> "LabelSet":
        """The set a config describes."""
        return cls(tuple(config.names), config.kind)

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "LabelSet":
        """The set that ``to_json`` described.

        Raises:
            ValueError: it is none: too few names, an empty or repeated one, another kind.
        """
        names = stored["names"]
        kind = stored["kind"]
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
            raise ValueError("label names are no list of texts")
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"{len(names)} label names, {len(set(names))} of them different")
        if kind not in get_args(Kind):
            raise ValueError(f"{kind!r} is no kind of label set: {', '.join(get_args(Kind))}")
        return cls(tuple(names), kind)

    @property
    def exclusive(self) -> bool:
        """True where exactly one label applies to each image."""
        return self.kind != "multilabel"

    @property
    def digest(self) -> str:
        """Names the set: equal digests mean equal names, order and kind."""
        return json_digest(self.to_json())

    def to_json(self) -> dict[str, Json]:
        """``names`` and ``kind``."""
        return asdict(self)

    def has_truth(self, targets: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Rows [N] of targets [N, C] that say one thing; where votes tie, no label is the true one.

        Taking the first of equals would be taking the mildest of an ordinal set. In a multilabel set, one label whose
        votes tie is enough: an image is right where every label is.
        """
        if not self.exclusive:
            return np.asarray((targets != _TIE).all(1))
        return np.asarray((targets == targets.max(1, keepdims=True)).sum(1) == 1)

    def truth(self, targets: NDArray[np.floating]) -> NDArray[np.intp] | NDArray[np.bool_]:
        """True labels of targets [N, C] that all say one thing: their indices [N], or which apply [N, C]."""
        assert self.has_truth(targets).all(), "targets that tie have no true label"
        return np.asarray(targets.argmax(1) if self.exclusive else targets > _TIE)

    def index(self, name: str, where: str, remedy: str = "Correct the row, or add the label to labels.names.") -> int:
        """Position of ``name``, however its accents are written.

        Raises:
            UserError: no such label; the message names ``where`` and the nearest label.
        """
        if name in self.names:
            return self.names.index(name)
        whole = unicodedata.normalize("NFC", name)
        composed = [unicodedata.normalize("NFC", known) for known in self.names]
        if whole in composed:
            return composed.index(whole)
        folded = {known.casefold(): known for known in self.names}
        near = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
        hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
        shown = ", ".join(self.names[:_SHOWN]) + (f", … {len(self)} in all" if len(self) > _SHOWN else "")
        raise UserError(f"{where}: label {name!r} is not in labels.names ({shown}){hint} {remedy}")

    def resembles(self, name: str) -> bool:
        """True for a name that is a label but for case, accents and spaces around it: it can name no split."""
        return _folded(name) in map(_folded, self.names)

    def require_equal(self, other: "LabelSet", what: str) -> None:
        """Refuse an artifact made for another label set."""
        if self != other:
            raise UserError(
                f"{what} was made for the labels {list(other.names)} ({other.kind}), this run has {list(self.names)} "
                f"({self.kind}); labels are never reindexed. Use the config it was made with, or make it again."
            )

    def __len__(self) -> int:
        return len(self.names)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
