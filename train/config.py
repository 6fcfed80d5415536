"""Config section of the teacher."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fitting.config import FitConfig
from models.facts import Mode
from run.config import Require, checking


@dataclass(frozen=True, kw_only=True)
class ImageFitConfig(FitConfig):
    """One optimization on images: a ``FitConfig``, and its memory."""

    grad_checkpointing: bool | Literal["auto"] = "auto"
    """Activations are computed again in the backward pass instead of being kept: less memory, slower steps, the same
    gradient (batch norms' running statistics move twice a step). ``auto``: where a GPU's memory is too small for a
    single image without."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The last layer, solved by L-BFGS on all cached views: the optimum of the weight decay that validates best."""

    weight_decays: tuple[float, ...] = tuple(float(f"{digit}e-{power}") for power in range(1, 9) for digit in (3, 1))
    """Gone through in this order, each beginning where the one before ended. They are for features whose mean squared
    length is about a half, and pull towards 0, or to the head that came with the model for these very labels."""
    max_steps: int = 30
    """Of L-BFGS at each weight decay, at most."""
    patience: int = 2
    """Stop after so many weight decays without a better validation loss."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            decays = self.weight_decays
            falling = all(left > right for left, right in pairwise(decays))
            require("weight_decays", lambda: bool(decays) and decays[-1] > 0 and falling, "numbers above 0 that fall")
            require("max_steps", lambda: self.max_steps >= 1, "1 or more")
            require("patience", lambda: self.patience >= 1, "1 or more")


@dataclass(frozen=True, kw_only=True)
class LoraConfig(ImageFitConfig):
    """One optimization of adapters: matrices of low rank beside those of attention and MLPs."""

    rank: int = 16
    """Rank of each adapter: the larger, the more weights are trained."""
    alpha: float = 16.0
    """An adapter's part is multiplied by this over ``rank``."""

    def check(self, require: Require) -> None:
        super().check(require)
        require("rank", lambda: self.rank >= 1, "1 or more")
        require("alpha", lambda: self.alpha > 0, "above 0")


@dataclass(frozen=True, kw_only=True)
class LastBlocksConfig(ImageFitConfig):
    """One optimization of a model's last blocks."""

    blocks: int = 4
    """How many, counted from the head; what follows them is trained too."""

    def check(self, require: Require) -> None:
        super().check(require)
        require("blocks", lambda: self.blocks >= 1, "1 or more")


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
    """``head`` solves the last layer on features that the frozen backbone computes once; ``lora`` trains adapters
    beside the matrices of attention and MLPs and merges them into these; ``last_blocks`` trains the last few blocks;
    ``full`` trains every layer; ``probe_then_full`` does ``head``, then ``full``."""
    class_weighting: Literal["none", "sqrt", "balanced"] = "none"
    """Weigh the loss by the inverse frequency of the labels, or by its square root."""
    head: HeadConfig = HeadConfig()
    """The last layer."""
    lora: LoraConfig = LoraConfig(epochs=10, batch_size=32, lr=5e-4)
    """Optimization of adapters, and of the last layer with them."""
    last_blocks: LastBlocksConfig = LastBlocksConfig(epochs=10, batch_size=32, lr=1e-4, weight_decay=0.05)
    """Optimization of the last blocks, and of what follows them."""
    full: ImageFitConfig = ImageFitConfig(epochs=10, batch_size=32, lr=1e-4, weight_decay=0.05, ema_decay=0.999)
    """Optimization of all layers."""
    layer_decay: float = 0.75
    """In ``full`` and ``last_blocks``, each layer's learning rate is this times that of the layer after it."""
    drop_path: float = 0.1
    """In every mode but ``head``, rate of stochastic depth."""

    @property
    def trains_head(self) -> bool:
        """The mode begins with the last layer alone, on cached features."""
        return self.mode in ("head", "probe_then_full")

    @property
    def images_key(self) -> str:
        """The key of the optimization on images, ``full`` unless the mode has one of its own."""
        return self.mode if self.mode in ("lora", "last_blocks") else "full"

    @property
    def on_images(self) -> ImageFitConfig:
        """The optimization on images, which ``head`` leaves out."""
        fit: ImageFitConfig = getattr(self, self.images_key)
        return fit

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("image_size", lambda: self.image_size is None or self.image_size >= 1, "1 or more, or null")
            require("layer_decay", lambda: 0 < self.layer_decay <= 1, "above 0, at most 1")
            require("drop_path", lambda: 0 <= self.drop_path < 1, "at least 0 and below 1")
