"""Config of one optimization. Nothing here imports torch."""

from dataclasses import dataclass

from run.config import require


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
    """Decay per step of the averaged weights that are validated and kept; null keeps the raw weights."""
    patience: int | None = None
    """Stop after this many epochs without a better validation loss; null never stops early."""
    clip_norm: float | None = 1.0
    """Largest gradient norm; null does not clip."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(0 <= self.warmup < 1, "warmup", self.warmup, "at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "between 0 and 1")
        require(self.patience is None or self.patience >= 1, "patience", self.patience, "1 or more, or null")
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or null")
