"""The images of the golden kit: made by integer arithmetic, the same on every machine."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image

ROUNDING = 1
"""Levels between decoders that shorten 16 bits, or lay transparency over white, with another rounding."""
JPEG = 3
"""Levels between JPEG decoders: the inverse transform and the color conversion may round differently."""
JPEG_SUBSAMPLED = 12
"""Levels between JPEG decoders that enlarge halved color planes by another filter."""


@dataclass(frozen=True)
class GoldenImage:
    """An encoded image."""

    file: str
    purpose: str
    """The fault that it shows."""
    data: bytes

    @property
    def name(self) -> str:
        """The file's stem, as ``index.json`` has it."""
        return self.file.partition(".")[0]


LEVELS = {"exif": JPEG, "progressive": JPEG_SUBSAMPLED, "cmyk": JPEG, "alpha": ROUNDING, "gray16": ROUNDING}
"""By image, the levels of 255 that another decoder may be off; 0 for the others, which are stored without loss."""


def golden_images() -> Iterator[GoldenImage]:
    """The kit, in order."""
    yield _png("gradient", "plain RGB: if this fails, look at channel order and at layout", _gradient(160, 120))
    yield _png("noise", "rounding to 8 bits between and after the two resize passes", _noise(48, 36))
    yield _png("stripes", "antialiasing when an image shrinks", _stripes(900, 640))
    yield _png("wide", "extreme width, not kept in proportion", _noise(900, 4))
    yield _png("tall", "extreme height; width is resized first, whatever the library prefers", _noise(4, 900))
    yield _png("one_pixel", "the smallest image there is", Image.new("RGB", (1, 1), (200, 100, 30)))
    yield _jpeg("exif", "EXIF orientation 6 has to be applied", _gradient(150, 90), exif=_orientation(6))
    yield _jpeg("progressive", "progressive, halved color planes", _gradient(161, 121), progressive=True, subsampling=2)
    yield _jpeg("cmyk", "CMYK, converted without a color profile", _gradient(96, 72).convert("CMYK"))
    yield _png("alpha", "transparency is laid over white", _alpha(120, 90))
    yield _png("palette", "palette", _palette(128, 96))
    yield _png("gray", "one channel becomes three", _gradient(100, 140).convert("L"))
    yield _png("gray16", "16 bits become 8: v × 255 / 65535, rounded", _gray16(110, 80))


def _png(name: str, purpose: str, image: Image.Image) -> GoldenImage:
    return GoldenImage(f"{name}.png", purpose, encode_png(image))


def _jpeg(name: str, purpose: str, image: Image.Image, *, subsampling: int = 0, **options: Any) -> GoldenImage:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92, subsampling=subsampling, **options)
    return GoldenImage(f"{name}.jpg", purpose, stream.getvalue())


def encode_png(image: Image.Image) -> bytes:
    """The bytes of a small PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _gradient(width: int, height: int) -> Image.Image:
    """A different slope in each channel, without any symmetry."""
    y, x = np.indices((height, width), np.int64)
    red = x * 255 // (width - 1)
    green = y * 255 // (height - 1)
    blue = (x * 2 + y * 3) * 255 // (2 * width + 3 * height)
    blue[: height // 4, : width // 5] = 255  # a mark in one corner shows how an image is turned
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def _noise(width: int, height: int) -> Image.Image:
    """The high bits of a linear congruential generator, so that no library's random numbers are relied on."""
    state = 12345
    values = bytearray()
    for _ in range(width * height * 3):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(values))


def _stripes(width: int, height: int) -> Image.Image:
    """Lines one pixel wide: three pixels apart in red, five in green, and a chessboard in blue."""
    y, x = np.indices((height, width), np.int64)
    bands = np.stack([x % 3 == 0, y % 5 == 0, (x // 2 + y // 2) % 2 == 0], -1)
    return Image.fromarray((bands * 255).astype(np.uint8))


def _alpha(width: int, height: int) -> Image.Image:
    image = _gradient(width, height)
    y, x = np.indices((height, width), np.int64)
    image.putalpha(Image.fromarray(((x * 7 + y * 5) % 256).astype(np.uint8)))
    return image


def _palette(width: int, height: int) -> Image.Image:
    y, x = np.indices((height, width), np.int64)
    image = Image.fromarray(((x // 8 + y // 6 * 3) % 16).astype(np.uint8)).convert("L")
    colored = Image.frombytes("P", image.size, image.tobytes())
    colored.putpalette([(step * 53 + channel * 91) % 256 for step in range(16) for channel in range(3)])
    return colored


def _gray16(width: int, height: int) -> Image.Image:
    y, x = np.indices((height, width), np.int64)
    values = x * 65535 // (2 * (width - 1)) + y * 65535 // (2 * (height - 1))
    return Image.fromarray(values.astype(np.uint16))


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif
