"""Config of one optimization."""

from dataclasses import dataclass

from run.config import Require, checking


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """One optimization: AdamW, linear warm-up, then a cosine to zero."""

    epochs: int
    """Passes over the training images; each pass sees one view of every image."""
    batch_size: int
    """Images per optimizer step and device: on 8 devices a step sees 8 times as many."""
    lr: float
    """Peak learning rate."""
    weight_decay: float = 0.02
    """AdamW weight decay; biases and norms are left out."""
    warmup: float = 0.1
    """Share of all steps that the learning rate rises linearly."""
    ema_decay: float | None = None
    """Largest decay per step of the averaged weights that are validated and kept; it rises as (1 + step) / (10 + step),
    so that short fits are not held back. Null keeps the raw weights."""
    patience: int | None = None
    """Stop after this many epochs without a better validation loss; null never stops early."""
    clip_norm: float | None = 1.0
    """Largest gradient norm; null does not clip."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            self.check(require)

    def check(self, require: Require) -> None:
        """Note what is wrong; a config with more keys adds to this, so that all is said at once."""
        require("epochs", lambda: self.epochs >= 1, "1 or more")
        require("batch_size", lambda: self.batch_size >= 1, "1 or more")
        require("lr", lambda: self.lr > 0, "above 0")
        require("weight_decay", lambda: self.weight_decay >= 0, "0 or more")
        require("warmup", lambda: 0 <= self.warmup < 1, "at least 0 and below 1")
        require("ema_decay", lambda: self.ema_decay is None or 0 < self.ema_decay < 1, "between 0 and 1, or null")
        require("patience", lambda: self.patience is None or self.patience >= 1, "1 or more, or null")
        require("clip_norm", lambda: self.clip_norm is None or self.clip_norm > 0, "above 0, or null")
