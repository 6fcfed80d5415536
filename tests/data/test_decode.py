import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from data.decode import FORMATS, MAX_PIXELS, DecodeError, decode
from tests.support import elpv_rows, encoded, picture, pixels

LOSSLESS = ("PNG", "GIF", "BMP", "TIFF")


def upright_and_stored(orientation: int) -> tuple[Image.Image, Image.Image]:
    """An image, and how a camera held so that its tag is ``orientation`` stores it."""
    upright = picture()
    turned = np.asarray(upright)
    stored = {
        1: turned,
        2: turned[:, ::-1],
        3: turned[::-1, ::-1],
        4: turned[::-1],
        5: turned.transpose(1, 0, 2),
        6: np.rot90(turned, 1),
        7: turned[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(turned, -1),
    }[orientation]
    return upright, Image.fromarray(np.ascontiguousarray(stored))


def exif(orientation: object) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__orientation_lossless(orientation: int, format_: str) -> None:
    upright, stored = upright_and_stored(orientation)
    decoded = decode(encoded(stored, format_, exif=exif(orientation)))
    assert decoded.size == upright.size
    assert np.array_equal(pixels(decoded), pixels(upright))


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__orientation_lossy(orientation: int, format_: str) -> None:
    upright, stored = upright_and_stored(orientation)
    decoded = decode(encoded(stored, format_, exif=exif(orientation), quality=95))
    assert decoded.size == upright.size
    assert np.abs(pixels(decoded) - pixels(upright)).mean() < 6


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_decode__unknown_orientation_is_upright(orientation: int) -> None:
    assert np.array_equal(pixels(decode(encoded(picture(), "PNG", exif=exif(orientation)))), pixels(picture()))


def test_decode__odd_exif_beside_an_orientation_is_no_reason_to_refuse() -> None:
    """``ImageOps.exif_transpose`` raises here, because it writes every tag anew."""
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    broken += struct.pack(">HHII", 0x0100, 2, 3, 0x41420000) + b"\0\0\0\0"
    stored = upright_and_stored(6)[1]
    decoded = decode(encoded(stored, "JPEG", exif=broken, quality=95))
    assert decoded.size == picture().size


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_decode__alpha_lies_over_white(format_: str) -> None:
    image = picture().convert("RGBA")
    alpha = np.tile(np.linspace(0, 255, 40).round().astype(np.uint8), (30, 1))
    image.putalpha(Image.fromarray(alpha))
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    opacity = alpha[..., None] / 255
    expected = pixels(picture()) * opacity + 255 * (1 - opacity)
    decoded = decode(encoded(image, format_, **options))
    assert decoded.mode == "RGB"
    assert np.abs(pixels(decoded) - expected).max() <= 1
    assert (pixels(decoded)[:, 0] == 255).all()


def test_decode__grey_with_alpha() -> None:
    image = Image.merge("LA", (Image.new("L", (2, 1), 100), Image.fromarray(np.array([[0, 255]], np.uint8))))
    assert pixels(decode(encoded(image, "PNG"))).tolist() == [[[255] * 3, [100] * 3]]


@pytest.mark.parametrize("format_", LOSSLESS)
def test_decode__palette(format_: str) -> None:
    image = picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert np.array_equal(pixels(decode(encoded(image, format_))), pixels(image.convert("RGB")))


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_decode__palette_with_a_transparent_colour(format_: str) -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 1])
    decoded = pixels(decode(encoded(image, format_, transparency=1))).tolist()
    assert decoded == [[[255, 0, 0], [255] * 3, [0, 0, 255], [255] * 3]]


@pytest.mark.parametrize("format_", LOSSLESS)
@pytest.mark.parametrize("mode", ["1", "L"])
def test_decode__grey(mode: str, format_: str) -> None:
    image = picture().convert(mode)
    assert np.array_equal(pixels(decode(encoded(image, format_))), pixels(image.convert("RGB")))


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_decode__sixteen_bit_grey_is_scaled_not_clipped(format_: str) -> None:
    values = np.linspace(0, 65535, 256 * 4).round().astype(np.uint16).reshape(4, 256)
    decoded = pixels(decode(encoded(Image.fromarray(values), format_)))
    assert np.array_equal(decoded[..., 0], np.round(values * (255 / 65535)).astype(np.int64))
    assert (decoded == decoded[..., :1]).all()


@pytest.mark.parametrize(("value", "message"), [(70_000, "beyond 16 bits"), (-1, "beyond 16 bits")])
def test_decode__thirty_two_bit_grey_has_no_white(value: int, message: str) -> None:
    image = Image.fromarray(np.full((2, 2), value, np.int32))
    with pytest.raises(DecodeError, match=message):
        decode(encoded(image, "TIFF"))


def test_decode__floating_point_is_refused() -> None:
    with pytest.raises(DecodeError, match="floating-point"):
        decode(encoded(Image.new("F", (2, 2)), "TIFF"))


def test_decode__cmyk_jpeg() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    decoded = decode(encoded(image, "JPEG", quality=95))
    assert decoded.mode == "RGB"
    assert np.abs(pixels(decoded) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG"])
def test_decode__first_frame(format_: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(pixels(decode(data)), pixels(frames[0]))


@pytest.mark.parametrize("format_", FORMATS)
def test_decode__cut_short(format_: str) -> None:
    data = encoded(picture(200, 150), format_)
    assert decode(data).size == (200, 150)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2])


def test_decode__damaged_png_is_refused() -> None:
    data = bytearray(encoded(picture(), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 0xFF
    with pytest.raises(DecodeError):
        decode(bytes(data))


def test_decode__empty() -> None:
    with pytest.raises(DecodeError, match=r"^empty file$"):
        decode(b"")


@pytest.mark.parametrize("data", [b"<!doctype html><title>Not found</title>", b"\0" * 5000, b"%PDF-1.7\n", b"GIF89a"])
def test_decode__not_an_image(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not an image in an allowed format"):
        decode(data)


@pytest.mark.parametrize("format_", ["PPM", "TGA", "ICO", "EPS"])
def test_decode__formats_outside_the_list_are_refused(format_: str) -> None:
    with pytest.raises(DecodeError, match="allowed format"):
        decode(encoded(picture(), format_))


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_001, 10_000), (15_000, 13_000), (100_000, 100_000), (2**31 - 1, 1)])
def test_decode__too_many_pixels_are_refused_before_they_take_memory(size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"pixels|size|exceeds"):
            decode(png_header(*size))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_decode__just_within_the_limit_is_not_refused_for_its_size() -> None:
    with pytest.raises(DecodeError) as error:
        decode(png_header(100, 100))
    assert "limit" not in str(error.value)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_decode__mangled_bytes_give_an_image_or_a_decode_error() -> None:
    generator = random.Random(0)
    seeds = [encoded(picture(), name, exif=exif(6)) for name in ("JPEG", "PNG", "WEBP", "TIFF")]
    seeds += [encoded(picture().convert("P"), name) for name in ("GIF", "BMP", "TIFF")]
    outcomes = {True: 0, False: 0}
    for _ in range(1500):
        data = bytearray(generator.choice(seeds))
        for _ in range(generator.randint(1, 6)):
            place = generator.randrange(min(len(data), generator.choice((64, 200, len(data)))))
            data[place] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
        try:
            outcomes[decode(bytes(data)).mode == "RGB"] += 1
        except DecodeError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 100


def test_decode__real_photograph() -> None:
    path, _ = elpv_rows()[0]
    image = decode(path.read_bytes())
    assert (image.mode, image.size) == ("RGB", (300, 300))
    with Image.open(path) as original:
        assert np.array_equal(pixels(image)[..., 1], pixels(original))
