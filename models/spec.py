"""The input contract of a model: how RGB pixels become the numbers it takes. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.resize import resize, resize_height, resize_width
from data.views import View
from run.errors import UserError
from run.files import Json, json_digest

ResizeMode = Literal["squash", "center"]

LARGEST = 4096
"""Pixels a side that a model takes at most: what a file says is believed no further."""


@dataclass(frozen=True)
class InputSpec:
    """Size, resize mode and statistics.

    ``squash`` resizes the whole image to size × size. ``center`` resizes the shorter side to size / crop_pct and keeps
    the middle, as timm does.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: ResizeMode = "squash"
    crop_pct: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST:
            raise UserError(f"an image size of {self.size} pixels; 1 to {LARGEST:,} are taken")
        if not len(self.mean) == len(self.std) == 3:
            raise UserError(
                f"a model's mean and std must have 3 numbers each, one per channel, not {self.mean} and {self.std}"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise UserError(f"mean {self.mean} and std {self.std} are no statistics of pixels")
        if not 0.01 <= self.crop_pct <= 1:
            raise UserError(f"a model's crop_pct must be above 0 and 1 at most, not {self.crop_pct:g}")

    @classmethod
    def from_pretrained_cfg(cls, cfg: Mapping[str, Any]) -> "InputSpec":
        """The contract in a timm ``pretrained_cfg``; its interpolation is always taken as bicubic.

        Raises:
            UserError: a number in it is none that a model can have.
        """
        mode: ResizeMode = "squash" if cfg.get("crop_mode") == "squash" else "center"
        mean, std = (tuple(float(x) for x in cfg[key]) for key in ("mean", "std"))
        crop_pct = 1.0 if mode == "squash" else float(cfg["crop_pct"])
        return cls(int(cfg["input_size"][-1]), mean, std, mode, crop_pct)  # type: ignore[arg-type]

    def to_pretrained_cfg(self) -> dict[str, Json]:
        """The same in timm's words."""
        return {
            "input_size": [3, self.size, self.size],
            "interpolation": "bicubic",
            "crop_pct": self.crop_pct,
            "crop_mode": self.mode,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def with_size(self, size: int | None) -> "InputSpec":
        """The same contract at another size in pixels; null keeps it."""
        return self if size is None else replace(self, size=size)

    def squashed(self) -> "InputSpec":
        """The same contract, looking at the whole image."""
        return replace(self, mode="squash", crop_pct=1.0)

    @property
    def digest(self) -> str:
        """Names the contract and the way it is carried out."""
        return json_digest({"algorithm": 1, **asdict(self)})

    def render(self, image: Image.Image, view: View | None = None) -> NDArray[np.uint8]:
        """Pixels of a view, [size, size, 3]; without one, of the whole image as the contract asks for it."""
        if view is None or view.box == (0, 0, *image.size):
            whole = self._center(image) if self.mode == "center" else resize(image, self.size, self.size)
            return np.asarray(whole if view is None else view.finish(whole))
        return np.asarray(view.finish(resize(image.crop(view.box), self.size, self.size)))

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(x / 255 - mean) / std`` of pixels [..., size, size, 3] as float32 [..., 3, size, size]."""
        scaled = pixels.astype(np.float32) / np.float32(255)
        values = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(np.moveaxis(values, -1, -3))

    def _center(self, image: Image.Image) -> Image.Image:
        """Shorter side to floor(size / crop_pct), the longer in proportion, then the middle square.

        The columns that are cut away are cut before the second pass, which looks at each column by itself.
        """
        short = int(self.size / self.crop_pct)
        width, height = (short * side // min(image.size) for side in image.size)
        left = round((width - self.size) / 2)
        top = round((height - self.size) / 2)
        columns = resize_width(image, width, left, self.size)
        return resize_height(columns, height, top, self.size)
