"""The one resize of the project, which working copies are made and views are rendered with."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LINES = 2**16
"""Lines up to which Pillow makes a whole pass, of which a part is then cut out."""

UNIT_BITS = 22
"""Pillow's unit for the filter's weights is two to this power (``PRECISION_BITS`` in its ``Resample.c``)."""


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Bicubic with antialiasing in two passes, width first, each rounded to 8 bits.

    Two calls, because the order of the passes inside one call depends on the version of Pillow.
    """
    bicubic = Image.Resampling.BICUBIC
    return image.resize((width, image.height), bicubic).resize((width, height), bicubic)


def resize_height(image: Image.Image, height: int, top: int, count: int) -> Image.Image:
    """Lines ``top`` to ``top + count`` of the image resized to ``height``, its width kept: a pass, and a part of it.

    The shorter side of a long strip makes its longer one millions of lines. Then only those that are kept are computed,
    in Pillow's own integer arithmetic (``ImagingResampleVertical_8bpc``), so that every pixel is equal.
    """
    if height <= LINES:
        whole = image.resize((image.width, height), Image.Resampling.BICUBIC)
        return whole.crop((0, top, image.width, top + count))
    pixels = np.asarray(image)
    scale = image.height / height
    widening = max(scale, 1.0)
    lines = np.empty((count, image.width, 3), np.uint8)
    for line in range(count):
        center = (top + line + 0.5) * scale
        first = max(int(center - 2 * widening + 0.5), 0)
        end = min(int(center + 2 * widening + 0.5), image.height)
        weights = _bicubic((np.arange(first, end) - center + 0.5) / widening)
        units = weights / weights.sum() * 2**UNIT_BITS
        rounded = np.trunc(units + np.copysign(0.5, units)).astype(np.int32)
        sums = np.tensordot(rounded, pixels[first:end].astype(np.int32), 1) + 2 ** (UNIT_BITS - 1)
        lines[line] = np.clip(sums >> UNIT_BITS, 0, 255)
    return Image.fromarray(lines)


def resize_width(image: Image.Image, width: int, left: int, count: int) -> Image.Image:
    """Columns ``left`` to ``left + count`` of the image resized to ``width``, its height kept; as ``resize_height``."""
    if width <= LINES:
        whole = image.resize((width, image.height), Image.Resampling.BICUBIC)
        return whole.crop((left, 0, left + count, image.height))
    turned = resize_height(image.transpose(Image.Transpose.TRANSPOSE), width, left, count)
    return turned.transpose(Image.Transpose.TRANSPOSE)


def _bicubic(distances: NDArray[np.floating]) -> NDArray[np.floating]:
    """Pillow's filter, with a = -0.5."""
    x = np.abs(distances)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
