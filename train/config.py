"""Config section of the teacher."""

from dataclasses import dataclass
from typing import Literal

from fitting.config import FitConfig
from models.facts import Mode
from run.config import checking


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The model to fine-tune."""

    model: str = "timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k"
    """A timm name, a Hub id (``org/name``, pinned as ``org/name@REVISION``), or a folder that timm or transformers
    (``timm_wrapper``) wrote."""
    pretrained: bool = True
    """Start from the model's weights; false starts from random ones."""
    image_size: int | None = None
    """Pixels a side; null keeps the model's own."""
    resize: Literal["model", "squash"] = "model"
    """``model`` keeps the model's own way of fitting an image into a square; ``squash`` always shows all of it."""
    mode: Mode = "head"
    """``head`` trains the last layer on features that the frozen backbone computes once; ``full`` trains every layer;
    ``probe_then_full`` does one after the other."""
    class_weighting: Literal["none", "sqrt", "balanced"] = "none"
    """Weigh the loss by the inverse frequency of the labels, or by its square root."""
    head: FitConfig = FitConfig(epochs=50, batch_size=512, lr=1e-3, patience=10)
    """Optimization of the last layer."""
    full: FitConfig = FitConfig(epochs=10, batch_size=32, lr=1e-4, weight_decay=0.05, ema_decay=0.999)
    """Optimization of all layers."""
    layer_decay: float = 0.75
    """In ``full``, each layer's learning rate is this times that of the layer after it."""
    drop_path: float = 0.1
    """In ``full``, rate of stochastic depth."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("image_size", lambda: self.image_size is None or self.image_size >= 1, "1 or more, or null")
            require("layer_decay", lambda: 0 < self.layer_decay <= 1, "above 0, at most 1")
            require("drop_path", lambda: 0 <= self.drop_path < 1, "at least 0 and below 1")
