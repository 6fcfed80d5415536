"""The decode contract: image bytes to RGB pixels, the same in training, verification and prediction.

* JPEG, PNG, WebP, GIF, BMP and TIFF, told by content and not by file name; the first frame of several.
* The EXIF orientation is applied.
* Transparency is laid over white.
* Palette, grey, 16-bit grey (scaled to 8 bits) and CMYK become RGB. ICC profiles are not applied.
* More pixels than ``MAX_PIXELS``, or data that is cut short, is an error.
"""

import io
import struct
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
"""Width × height above which an image is refused: 300 MB once decoded."""

# Pillow's own limit stops what is far above ours while the header is read; between the two, decode() answers.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


_DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's parsers raise on bytes that are no proper image."""

_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts each EXIF orientation upright."""


class DecodeError(ValueError):
    """Bytes that the decode contract refuses, and why."""


def decode(data: bytes) -> Image.Image:
    """Decode image bytes to an 8-bit RGB image by the contract above.

    Raises:
        DecodeError: empty, not an image, a format that is not allowed, too large, or damaged.
    """
    if not data:
        raise DecodeError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DecodeError(f"{image.width}×{image.height} pixels, above the limit of {MAX_PIXELS:,}")
            image.seek(0)
            image.load()
            return _to_rgb(_upright(image))
    except UnidentifiedImageError:
        raise DecodeError(f"not an image in an allowed format ({', '.join(FORMATS)})") from None
    except _DAMAGED as error:
        raise DecodeError(str(error) or type(error).__name__) from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation. ``ImageOps.exif_transpose`` also writes the tags anew, and fails on odd ones."""
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits: v · 255 / 65535, rounded. Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    if image.mode == "F":
        raise DecodeError("floating-point pixels have no defined white; save the image with 8 or 16 bits")
    if values.min() < 0 or values.max() > 65535:
        raise DecodeError("32-bit pixels beyond 16 bits; save the image with 8 or 16 bits")
    scaled = (values.astype(np.uint32) * 255 + 32767) // 65535
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
