"""Views: which part of an image is looked at, and how, drawn the same on every machine.

A view is drawn from a counter-based generator keyed by (image_id, view index, spec digest), so it does not depend on
the order, the worker or the run in which it is asked for. View 0 is always the whole image, unchanged. One view has
two renders: the teacher's and the student's, each at its own resolution (``models.spec.InputSpec.render``).
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from data.config import ViewsConfig
from run.files import json_digest


@dataclass(frozen=True)
class View:
    """A crop box in pixels (left, top, right, bottom), flips, and color factors around 1."""

    box: tuple[int, int, int, int]
    mirror: bool = False
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0

    def finish(self, image: Image.Image) -> Image.Image:
        """Apply the flips and color factors to an image already cropped and resized."""
        if self.mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        for enhance, factor in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.saturation),
        ):
            if factor != 1.0:
                image = enhance(image).enhance(factor)
        return image


@dataclass(frozen=True)
class ViewSpec:
    """The distribution that views are drawn from."""

    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    horizontal_flip: bool
    vertical_flip: bool
    brightness: float
    contrast: float
    saturation: float
    working_size: int | None = None
    """Of the copies that views are cut from (``data.working``), or null; views are drawn alike whatever it is."""

    @classmethod
    def of(cls, config: ViewsConfig, working_size: int | None = None) -> "ViewSpec":
        """The distribution a config describes; how many views are drawn from it is not part of it."""
        drawn: dict[str, Any] = config.drawing()
        return cls(**drawn, working_size=working_size)

    @property
    def digest(self) -> str:
        """Names the distribution, the way views are drawn from it, and what they are cut from."""
        return json_digest({"drawn": self._drawn, "working_size": self.working_size})

    @property
    def _drawn(self) -> str:
        fields = asdict(self)
        del fields["working_size"]
        return json_digest({"algorithm": 1, **fields})

    def draw(self, image_id: str, index: int, width: int, height: int) -> View:
        """View ``index`` of an image of the given size in pixels; index 0 is the whole image."""
        if index == 0:
            return View(box=(0, 0, width, height))
        key = hashlib.sha256(f"{image_id}/{index}/{self._drawn}".encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
        area, ratio, x, y, mirror, flip, brightness, contrast, saturation = generator.random(9).tolist()
        return View(
            box=self._box(width, height, area, ratio, x, y),
            mirror=self.horizontal_flip and mirror < 0.5,
            flip=self.vertical_flip and flip < 0.5,
            brightness=1 + self.brightness * (2 * brightness - 1),
            contrast=1 + self.contrast * (2 * contrast - 1),
            saturation=1 + self.saturation * (2 * saturation - 1),
        )

    def _box(self, width: int, height: int, area: float, ratio: float, x: float, y: float) -> tuple[int, int, int, int]:
        """A crop of uniform area share and log-uniform aspect, placed uniformly, from numbers in [0, 1)."""
        low, high = self.crop_scale
        share = low + (high - low) * area
        narrow = math.log(self.crop_ratio[0])
        wide = math.log(self.crop_ratio[1])
        stretch = math.exp(narrow + (wide - narrow) * ratio)
        crop_width = max(1, round(width * min(1.0, math.sqrt(share * stretch))))
        crop_height = max(1, round(height * min(1.0, math.sqrt(share / stretch))))
        left = int(x * (width - crop_width + 1))
        top = int(y * (height - crop_height + 1))
        return left, top, left + crop_width, top + crop_height
