"""The decode contract: image bytes to RGB pixels, the same in training, verification and prediction.

* JPEG, PNG, WebP, GIF, BMP and TIFF, told by content and not by file name; the first frame of several. HEIC too, where
  the package pillow-heif is installed.
* The EXIF orientation is applied; transparency, and what a GIF's first frame leaves bare, is white.
* Palette, gray, 16-bit and CMYK become 8-bit RGB. ICC profiles are not applied.
* What is above ``MAX_PIXELS`` or ``MAX_SIDE``, or lacks bytes that its pixels need, is an error.

``docs/decoding.md`` has the rules step by step, for those who decode elsewhere.
"""

import io
import re
import struct
import warnings
from importlib.util import find_spec

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
)
"""File name endings of these formats; others are told by content, and so is every file when it is decoded."""
MAX_PIXELS = 50 * 2**20
"""Width × height above which an image is refused. Pillow holds up to 16 bytes a pixel while it reads a WebP, and less
for other formats: 800 MiB here, so that no image takes 1 GiB. A 50-megapixel photograph (8160 × 6144) fits."""
MAX_SIDE = 65_535
"""Pixels a side above which an image is refused; JPEG has no larger ones either. The first pass of the resize keeps one
side: a line of 50 million pixels would take 100 GB there."""
_MAX_MEMORY = 960 * 2**20
"""Bytes that a WebP or TIFF may need with its file (Pillow copies a WebP's once), which no bound on pixels can hold."""
_MAX_REPEATS = 200
"""Scans, or EXIF segments, above which a JPEG is refused. A scan of a few bytes goes over all pixels, and Pillow joins
EXIF segments in quadratic time. Encoders write about ten scans and one segment."""

# Pillow asks this while it reads a header, before WebP and GIF take memory, and raises only above twice the limit;
# decode() answers in between. Its warning there, and those about odd tags, say nothing that the contract does not.
# Filters and limit are set once and for the whole process: changing them in decode() would not be thread-safe.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError),
    struct.error,
)
"""Errors that Pillow's parsers raise on bytes that are no proper image."""

_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, the turn that puts the image upright."""

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))
"""In the ``ftyp`` box of an HEIC file."""
_NOT_READ = (
    ("AVIF", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  ")),
    ("Photoshop", re.compile(rb"8BPS")),
)
"""Formats that are left out of the contract, and how their files begin."""
_SHOWN = 60
"""Bytes of a text that are shown where an image should be."""
_STRIP = 2**20
"""Pixels converted at a time, where the conversion needs more memory than the image."""
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
"""A marker with something behind it; what stands in the data of a scan (stuffed zeros, restarts) is none."""
_SOS = 0xDA
_EOI = 0xD9


class DecodeError(ValueError):
    """Bytes that the decode contract refuses, and why."""


def is_heic(start: bytes) -> bool:
    """True for a file that begins like HEIC."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


def reads_heic() -> bool:
    """True where HEIC can be decoded on this machine."""
    return find_spec("pillow_heif") is not None


def format_not_read(start: bytes) -> str | None:
    """The name of a picture's format that is not read, by how the file begins."""
    return next((name for name, beginning in _NOT_READ if beginning.match(start)), None)


def decode(data: bytes) -> Image.Image:
    """Decode image bytes to an 8-bit RGB image by the contract above, which carries no metadata.

    Safe in threads and processes: nothing is shared but constants.

    Raises:
        DecodeError: empty, not an image, a format that is not allowed, too large, or damaged.
    """
    if not data:
        raise DecodeError("empty file")
    try:
        rgb, orientation = _read(data)
    except DecodeError:
        raise
    except UnidentifiedImageError:
        raise DecodeError(_unidentified(data)) from None
    except Image.DecompressionBombError:
        raise DecodeError(f"above the limit of {MAX_PIXELS:,} pixels") from None
    except _DAMAGED as error:
        raise DecodeError(f"damaged: {str(error) or type(error).__name__}") from error
    turn = _TURNS.get(orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _unidentified(data: bytes) -> str:
    """The reason why no decoder takes bytes; their file's name may promise something else."""
    if is_heic(data):
        return "begins as HEIC does, but its header is damaged"
    if name := format_not_read(data):
        return f"the format is {name}, which is not read: convert it to JPEG or PNG"
    start = data[:_SHOWN].decode("utf-8", "ignore").split("\n")[0].strip()
    text = f"; it begins with the text {start!r}" if start and start.isprintable() else ""
    return f"not an image in an allowed format ({', '.join(FORMATS)}), or its header is damaged{text}"


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image that Pillow has opened or made, by the same rules as ``decode``.

    Raises:
        DecodeError: its pixels have no defined white.
    """
    turn = _TURNS.get(_orientation(image.info.get("exif", b"")))
    rgb = _to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _read(data: bytes) -> tuple[Image.Image, int]:
    """The pixels as stored, and the orientation still to be applied (Pillow applies a TIFF's while it loads)."""
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg(data)
    with Image.open(io.BytesIO(data), formats=_with_heic() if is_heic(data) else FORMATS) as image:
        # All that the header gives away is checked before `load`, which takes the memory.
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise DecodeError(f"{image.width} × {image.height}: above the limit of {MAX_PIXELS:,} pixels")
        if max(image.size) > MAX_SIDE:
            raise DecodeError(f"{image.width} × {image.height}: a side above the limit of {MAX_SIDE:,} pixels")
        copies = {"WEBP": 2, "TIFF": 1}.get(str(image.format))
        if copies and 16 * pixels + copies * len(data) > _MAX_MEMORY:
            raise DecodeError(f"{image.width} × {image.height} in {len(data):,} bytes would take 1 GiB to decode")
        if isinstance(image, TiffImageFile):
            image.info.pop("xmp", None)  # Pillow would take an orientation from there
            if int(image.tag_v2.get(322, 1)) * int(image.tag_v2.get(323, 1)) > MAX_PIXELS:
                raise DecodeError(f"tiles above the limit of {MAX_PIXELS:,} pixels")
        tile = image.tile[0] if image.tile else None
        if image.format == "PNG" and tile is not None:
            _widen_color_key(image, tile.args)
        image.load()
        rgb = _to_rgb(image)
        if image.format == "GIF" and tile is not None and tile.extents not in (None, (0, 0, *rgb.size)):
            frame = rgb.crop(tile.extents)
            rgb.paste("white", (0, 0, *rgb.size))
            rgb.paste(frame, tile.extents)
        return rgb, _orientation(image.info.get("exif", b""))


def _with_heic() -> tuple[str, ...]:
    if not reads_heic():
        raise DecodeError("HEIC needs the package pillow-heif: pip install pillow-heif, or save the image as JPEG")
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _check_jpeg(data: bytes) -> None:
    """Refuse truncated JPEGs (whether libjpeg minds depends on the pixels) and those made to take hours."""
    position = 2
    scans = 0
    exifs = 0
    while marker := _JPEG_MARKER.search(data, position):
        if marker[1][0] == _EOI:
            return
        start = marker.end()
        scans += marker[1][0] == _SOS
        exifs += data[start + 2 : start + 6] == b"Exif"
        if max(scans, exifs) > _MAX_REPEATS:
            raise DecodeError(f"more than {_MAX_REPEATS} scans or EXIF segments")
        position = start + int.from_bytes(data[start : start + 2])
    raise DecodeError("cut short: the end-of-image marker is missing")


def _widen_color_key(image: ImageFile, raw_mode: object) -> None:
    """Bring the transparent color of a PNG to the depth that Pillow gives the pixels; it leaves that out."""
    if "transparency" in image.info and raw_mode == "RGB;16B":
        raise DecodeError("a transparent color in 16-bit RGB; save the image with an alpha channel")
    if "transparency" in image.info and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] *= 85 if raw_mode == "L;2" else 17


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F", "LAB"):
        raise DecodeError("32-bit, signed, floating-point or Lab pixels have no defined white; save as 8-bit RGB")
    deep = image.mode.startswith("I;16")
    if not deep and not image.has_transparency_data:
        rgb = image.convert("RGB")
        rgb.info = {}
        return rgb
    rgb = Image.new("RGB", image.size, "white")
    # In strips, because RGBA and the 16-bit arithmetic together need several times the image's memory.
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if deep:
            strip = _from_deep_gray(strip, int(tags.get(258, (16,))[0]), inverted=tags.get(262) == 0)
        rgba = strip.convert("RGBA")
        rgb.paste(rgba, (0, top), rgba)
    return rgb


def _from_deep_gray(image: Image.Image, bits: int, *, inverted: bool) -> Image.Image:
    """12- or 16-bit gray to 8 bits and alpha: v · 255 / white, rounded. Pillow's own conversion clips at 255."""
    values = np.asarray(image).astype(np.uint32)
    white = 2**bits - 1
    gray = (values * 255 + white // 2) // white
    alpha = np.where(values == image.info.get("transparency", -1), 0, 255)
    planes = (255 - gray if inverted else gray, alpha)
    return Image.merge("LA", [Image.fromarray(plane.astype(np.uint8)) for plane in planes])


def _orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first directory, where it is one short integer; 1 in every other case, garbage included.

    ``Image.getexif`` also looks into XMP, and raises on garbage.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    try:
        if order is not None:
            (start,) = struct.unpack_from(f"{order}I", tiff, 4)
            (count,) = struct.unpack_from(f"{order}H", tiff, start)
            for place in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind, length, value = struct.unpack_from(f"{order}HHIH", tiff, place)
                if tag == 0x0112:
                    return int(value) if (kind, length) == (3, 1) else 1
    except struct.error:
        pass
    return 1
