import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from data.decode import FORMATS, MAX_PIXELS, DecodeError, decode
from tests.data import decode_cases as cases
from tests.data.decode_cases import PALETTE, SHORT, exif_bytes, gif, gif_frame, png, tiff, tiff_tags, webp
from tests.support import elpv_rows, encoded, picture, pixels

LOSSLESS = ("PNG", "GIF", "BMP", "TIFF")
WHITE = [255, 255, 255]

# pytest puts the filters aside that data.decode sets for Pillow's warnings.
pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


def over_white(color: NDArray[np.int64], alpha: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documented formula, in integers."""
    return (color * alpha + 255 * (255 - alpha) + 127) // 255


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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_decode__orientation_in_both_byte_orders(format_: str, order: str) -> None:
    assert decode(encoded(picture(), format_, exif=exif_bytes(6, order))).size == (30, 40)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "garbage",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*",
        b"Exif\0\0rubbish" * 20,
        exif_bytes(6)[:20],
        exif_bytes(6).replace(b"MM\0*", b"XX\0*"),
        exif_bytes(6).replace(b"\0\0\0\x08", b"\xff\xff\xff\xff"),
        exif_bytes(6, kind=4),
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\0\x0c" * 40,
    ],
)
def test_decode__exif_garbage_is_ignored(garbage: bytes, format_: str) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {"quality": 95} if format_ == "JPEG" else {}
    plain = decode(encoded(picture(), format_, **options))
    assert np.array_equal(pixels(decode(encoded(picture(), format_, exif=garbage, **options))), pixels(plain))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode__an_orientation_in_xmp_is_ignored(format_: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    if format_ == "PNG":
        rows = [row.tobytes() for row in np.asarray(picture())]
        data = png(40, 30, 8, 2, rows, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    elif format_ == "TIFF":
        data = encoded(picture(), format_, tiffinfo={700: xmp})
    else:
        data = encoded(picture(), format_, xmp=xmp)
    assert xmp in data
    assert decode(data).size == (40, 30)


def test_decode__odd_exif_beside_an_orientation_is_no_reason_to_refuse() -> None:
    """``ImageOps.exif_transpose`` raises here, because it writes every tag anew."""
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    broken += struct.pack(">HHII", 0x0100, 2, 3, 0x41420000) + b"\0\0\0\0"
    stored = upright_and_stored(6)[1]
    decoded = decode(encoded(stored, "JPEG", exif=broken, quality=95))
    assert decoded.size == picture().size


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_decode__alpha_lies_over_white(format_: str) -> None:
    """Every pair of level and opacity, over more than one strip of the conversion."""
    level, alpha = np.meshgrid(np.arange(256), np.arange(256))
    level, alpha = np.tile(level, (20, 1)), np.tile(alpha, (20, 1))
    color = np.stack([level, 255 - level, level ^ 85], -1)
    image = Image.fromarray(np.dstack([color, alpha]).astype(np.uint8))
    options = {"lossless": True, "exact": True, "quality": 0} if format_ == "WEBP" else {}
    decoded = decode(encoded(image, format_, **options))
    assert decoded.mode == "RGB"
    assert np.array_equal(pixels(decoded), over_white(color, alpha[..., None]))


def test_decode__gray_with_alpha() -> None:
    level, alpha = np.meshgrid(np.arange(256), np.arange(256))
    decoded = pixels(decode(encoded(Image.fromarray(np.dstack([level, alpha]).astype(np.uint8)), "PNG")))
    assert np.array_equal(decoded, np.repeat(over_white(level, alpha)[..., None], 3, -1))


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, [0b00110000], 1, [0, 0, 255, 255]),
        (1, [0b11000000], 0, [255, 255, 255, 255]),
        (2, [0b00011011], 1, [0, 255, 170, 255]),
        (4, [0x01, 0x2F], 2, [0, 17, 255, 255]),
        (8, [0, 100, 101, 7], 100, [0, 255, 101, 7]),
        (16, [0, 0, 1, 44, 1, 45, 128, 0], 300, [0, 255, 1, 128]),
    ],
)
def test_decode__transparent_gray_in_png(depth: int, row: list[int], key: int, expected: list[int]) -> None:
    decoded = decode(png(4, 1, depth, 0, [bytes(row)], (b"tRNS", struct.pack(">H", key))))
    assert pixels(decoded)[0].tolist() == [[level] * 3 for level in expected]


def test_decode__transparent_color_in_png() -> None:
    data = png(3, 1, 8, 2, [bytes([1, 2, 3, 1, 2, 4, 0, 0, 0])], (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert pixels(decode(data)).tolist() == [[WHITE, [1, 2, 4], [0, 0, 0]]]


def test_decode__transparent_color_in_16_bit_png_is_refused() -> None:
    data = png(1, 1, 16, 2, [bytes(6)], (b"tRNS", bytes(6)))
    with pytest.raises(DecodeError, match="16-bit RGB"):
        decode(data)


def test_decode__palette_with_opacities() -> None:
    colors, opacities = [[10, 20, 30], [40, 50, 60], [70, 80, 90], [1, 2, 3]], [0, 100, 255]
    chunks = (b"PLTE", bytes(level for color in colors for level in color)), (b"tRNS", bytes(opacities))
    decoded = pixels(decode(png(4, 1, 2, 3, [bytes([0b00011011])], *chunks)))
    expected = over_white(np.array(colors), np.array([[0], [100], [255], [255]]))
    assert decoded[0].tolist() == expected.tolist()


@pytest.mark.parametrize("format_", LOSSLESS)
def test_decode__palette(format_: str) -> None:
    image = picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert np.array_equal(pixels(decode(encoded(image, format_))), pixels(image.convert("RGB")))


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_decode__palette_with_a_transparent_color(format_: str) -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 1])
    decoded = pixels(decode(encoded(image, format_, transparency=1))).tolist()
    assert decoded == [[[255, 0, 0], [255] * 3, [0, 0, 255], [255] * 3]]


@pytest.mark.parametrize("format_", LOSSLESS)
@pytest.mark.parametrize("mode", ["1", "L"])
def test_decode__gray(mode: str, format_: str) -> None:
    image = picture().convert(mode)
    assert np.array_equal(pixels(decode(encoded(image, format_))), pixels(image.convert("RGB")))


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_decode__sixteen_bit_gray_is_scaled_not_clipped(format_: str) -> None:
    values = np.linspace(0, 65535, 256 * 4).round().astype(np.uint16).reshape(4, 256)
    decoded = pixels(decode(encoded(Image.fromarray(values), format_)))
    assert np.array_equal(decoded[..., 0], np.round(values * (255 / 65535)).astype(np.int64))
    assert (decoded == decoded[..., :1]).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_decode__sixteen_bit_gray_tiff_in_both_byte_orders(order: str) -> None:
    values = np.array([[0, 128, 129, 385, 386, 32767, 65406, 65535]])
    data = tiff(order, tiff_tags(8, 1, [16], 1), values.astype(f"{order}u2").tobytes())
    assert pixels(decode(data))[0, :, 0].tolist() == [0, 0, 1, 1, 2, 127, 254, 255]


def test_decode__sixteen_bit_gray_tiff_where_zero_is_white() -> None:
    data = tiff("<", tiff_tags(3, 1, [16], 0), struct.pack("<3H", 0, 257 * 55, 65535))
    assert pixels(decode(data))[0, :, 1].tolist() == [255, 200, 0]


def test_decode__twelve_bit_gray_tiff() -> None:
    data = tiff("<", tiff_tags(2, 1, [12], 1), bytes([0x80, 0x0F, 0xFF]))  # 0x800, 0xFFF
    assert pixels(decode(data))[0, :, 2].tolist() == [128, 255]


def test_decode__sixteen_bit_color_keeps_the_high_byte() -> None:
    samples = [255, 256, 511, 65535, 65280, 383, 0, 32768]
    row = struct.pack(">8H", *samples)
    assert pixels(decode(png(2, 1, 16, 2, [row[:12]])))[0].tolist() == [[0, 1, 1], [255, 255, 1]]
    color, alpha = np.array([[0, 1, 1], [255, 1, 0]]), np.array([[255], [128]])
    assert pixels(decode(png(2, 1, 16, 6, [row])))[0].tolist() == over_white(color, alpha).tolist()
    gray, alpha = np.array([[0], [1], [255], [0]]), np.array([[1], [255], [1], [128]])
    decoded = pixels(decode(png(4, 1, 16, 4, [row])))[0]
    assert decoded.tolist() == np.repeat(over_white(gray, alpha), 3, -1).tolist()


@pytest.mark.parametrize("value", [-1, 0, 255, 70_000])
def test_decode__thirty_two_bit_gray_has_no_white(value: int) -> None:
    image = Image.fromarray(np.full((2, 2), value, np.int32))
    with pytest.raises(DecodeError, match="no defined white"):
        decode(encoded(image, "TIFF"))


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_decode__floating_point_and_lab_are_refused(mode: str) -> None:
    with pytest.raises(DecodeError, match="floating-point or Lab"):
        decode(encoded(Image.new(mode, (2, 2)), "TIFF"))


def cmyk_to_rgb(ink: list[int]) -> list[int]:
    return [((255 - level) * (255 - ink[3]) + 127) // 255 for level in ink[:3]]


def test_decode__cmyk_tiff() -> None:
    inks = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    decoded = decode(encoded(Image.frombytes("CMYK", (50, 40), inks.tobytes()), "TIFF"))
    expected = [[cmyk_to_rgb(ink) for ink in row] for row in inks.tolist()]
    assert pixels(decoded).tolist() == expected


@pytest.mark.parametrize("adobe", [True, False])
def test_decode__cmyk_jpeg_is_stored_inverted_with_and_without_the_adobe_marker(*, adobe: bool) -> None:
    ink = [30, 200, 120, 60]
    data = encoded(Image.new("CMYK", (16, 16), tuple(ink)), "JPEG", quality=100)
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    decoded = decode(data if adobe else data[:start] + data[start + 16 :])
    assert np.abs(pixels(decoded) - cmyk_to_rgb(ink)).max() <= 2


def test_decode__ycck_jpeg() -> None:
    """The same samples, but the Adobe marker says that the first three are a luminance and two color differences."""
    y, cb, cr, k = stored = [100, 140, 90, 180]
    data = encoded(Image.new("CMYK", (16, 16), tuple(255 - sample for sample in stored)), "JPEG", quality=100)
    place = data.index(b"\xff\xee\x00\x0eAdobe") + 15
    assert data[place] == 0
    decoded = decode(data[:place] + b"\x02" + data[place + 1 :])
    # what YCbCr gives is the complement of the stored, inverted, ink: the ink itself
    ink = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    expected = [(255 - level) * k / 255 for level in ink]
    assert np.abs(pixels(decoded) - expected).max() <= 2


def test_decode__progressive_jpeg_is_the_same_as_baseline() -> None:
    image = picture(161, 121)
    baseline = pixels(decode(encoded(image, "JPEG", quality=92)))
    assert np.array_equal(pixels(decode(encoded(image, "JPEG", quality=92, progressive=True))), baseline)
    assert np.abs(baseline - pixels(image)).mean() < 4


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode__color_profile_and_resolution_are_ignored(format_: str) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    plain = encoded(picture(), format_, **options)
    with_profile = encoded(picture(), format_, icc_profile=b"a profile, or not" * 9, dpi=(300, 300), **options)
    assert len(with_profile) > len(plain)
    assert np.array_equal(pixels(decode(with_profile)), pixels(decode(plain)))


def test_decode__the_result_carries_no_metadata() -> None:
    decoded = decode(encoded(upright_and_stored(6)[1], "JPEG", exif=exif(6), icc_profile=b"profile"))
    assert decoded.info == {}
    assert dict(decoded.getexif()) == {}


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (65_500, 2)])
@pytest.mark.parametrize("format_", ["JPEG", *LOSSLESS])
def test_decode__extreme_shapes(format_: str, size: tuple[int, int]) -> None:
    decoded = decode(encoded(Image.new("L", size, 90), format_))
    assert decoded.size == size
    assert decoded.getextrema() == ((90, 90),) * 3


def test_decode__strips_of_a_tall_transparent_image_meet() -> None:
    column = np.arange(60_000) % 251
    image = np.zeros((60_000, 30, 2), np.uint8)
    image[..., 0], image[..., 1] = column[:, None], 200
    decoded = pixels(decode(encoded(Image.fromarray(image), "PNG", compress_level=1)))
    assert np.array_equal(decoded[:, 29, 1], over_white(column, np.full(60_000, 200)))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo"])
def test_decode__content_decides_and_not_the_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(picture(), "BMP"))
    assert np.array_equal(pixels(decode((tmp_path / name).read_bytes())), pixels(picture()))


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG"])
def test_decode__first_frame(format_: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(pixels(decode(data)), pixels(frames[0]))


def test_decode__first_frame_of_a_multi_picture_jpeg() -> None:
    frames = [picture(), picture(seed=1)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert np.array_equal(pixels(decode(data)), pixels(decode(encoded(frames[0], "JPEG", quality=95))))


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_decode__gif_shows_its_first_frame_alone(disposal: int) -> None:
    first = gif_frame((0, 0, 3, 1), bytes([5, 6, 7]), disposal=disposal)
    second = gif_frame((0, 0, 3, 1), bytes([8, 9, 10]), transparent=9)
    expected = [list(PALETTE[index]) for index in (5, 6, 7)]
    assert pixels(decode(gif(3, 1, first, second, background=11))).tolist() == [expected]


@pytest.mark.parametrize("transparent", [None, 6, 120])
@pytest.mark.parametrize("disposal", [0, 2, 3])
def test_decode__gif_is_white_where_the_first_frame_leaves_it_bare(transparent: int | None, disposal: int) -> None:
    frame = gif_frame((1, 1, 2, 1), bytes([5, 6]), transparent, disposal)
    decoded = pixels(decode(gif(4, 3, frame, background=11))).tolist()
    expected = [[WHITE] * 4 for _ in range(3)]
    expected[1][1] = list(PALETTE[5])
    expected[1][2] = WHITE if transparent == 6 else list(PALETTE[6])
    assert decoded == expected


def test_decode__gif_grows_to_hold_its_first_frame() -> None:
    decoded = decode(gif(1, 1, gif_frame((1, 0, 2, 1), bytes([5, 6]))))
    assert pixels(decoded).tolist() == [[WHITE, list(PALETTE[5]), list(PALETTE[6])]]


@pytest.mark.parametrize(("flags", "bare"), [(0x12, 255), (0x02, 0)])
def test_decode__webp_animation_with_a_partial_first_frame(flags: int, bare: int) -> None:
    """White where the file says that it has transparency, black where it does not."""
    frame = encoded(Image.new("RGB", (2, 2), (10, 20, 30)), "WEBP", lossless=True)[12:]
    frame = b"ANMF" + struct.pack("<I", 16 + len(frame)) + bytes(6) + b"\1\0\0\1\0\0" + b"\x64\0\0\0" + frame
    decoded = pixels(decode(webp(3, 2, b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame * 2, flags)))
    assert decoded[:, :2].tolist() == [[[10, 20, 30]] * 2] * 2
    assert decoded[:, 2].tolist() == [[bare] * 3] * 2


@pytest.mark.parametrize("format_", FORMATS)
def test_decode__cut_short(format_: str) -> None:
    data = encoded(picture(200, 150), format_)
    assert decode(data).size == (200, 150)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("side", [1, 5, 16])
def test_decode__cut_anywhere_gives_the_right_pixels_or_none(side: int, format_: str) -> None:
    """Only what follows the pixels may be missing: the end of a PNG or GIF, the padding of a BMP's last row."""
    data = encoded(picture(side, side, seed=side), format_)
    whole = pixels(decode(data))
    lengths = []
    for length in range(len(data)):
        try:
            decoded = decode(data[:length])
        except DecodeError:
            continue
        assert np.array_equal(pixels(decoded), whole)
        lengths.append(len(data) - length)
    most = {"PNG": 24, "GIF": 2, "BMP": 3}.get(format_, 0)
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths, default=0) <= most
    if format_ in ("PNG", "GIF"):
        assert 1 in lengths


@pytest.mark.parametrize("options", [{}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
def test_decode__jpeg_without_its_last_byte_is_refused_whatever_its_pixels(options: dict[str, object]) -> None:
    """libjpeg lets some of these pass."""
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        data = encoded(Image.fromarray(noise), "JPEG", **options)
        assert decode(data + b"what follows the end is ignored").size == (40, 30)
        for cut in (1, 2):
            with pytest.raises(DecodeError, match=r"^cut short: the end-of-image marker is missing$"):
                decode(data[:-cut])


def test_decode__the_end_of_a_thumbnail_is_not_the_end_of_a_jpeg() -> None:
    data = encoded(picture(), "JPEG", comment=encoded(picture(8, 8), "JPEG"))
    assert decode(data).size == (40, 30)
    with pytest.raises(DecodeError, match="end-of-image"):
        decode(data[:-2])


def test_decode__damaged_png_is_refused() -> None:
    data = bytearray(encoded(picture(), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 0xFF
    with pytest.raises(DecodeError):
        decode(bytes(data))


def test_decode__empty() -> None:
    with pytest.raises(DecodeError, match=r"^empty file$"):
        decode(b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!doctype html>\n<title>Not found</title>", "damaged; it begins with the text '<!doctype html>'$"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "text 'version https://git-lfs.github.com/spec/v1'$"),
        (b"\0" * 5000, "not an image in an allowed format .*, or its header is damaged$"),
        (b"\x1b[2J", "header is damaged$"),
        (b"%PDF-1.7\n", "not an image in an allowed format"),
        (b"GIF89a", "not an image in an allowed format"),
        (b"a photograph, they said", "it begins with the text 'a photograph, they said'$"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "^begins as HEIC does, but its header is damaged$"),
        (b"\0\0\0\x1cftypavif" + bytes(200), "^the format is AVIF, which is not read: convert it to JPEG or PNG$"),
        (b"8BPS" + bytes(200), "^the format is Photoshop, which is not read"),
    ],
)
def test_decode__not_an_image(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode(data)


@pytest.mark.parametrize("format_", ["PPM", "TGA", "ICO", "EPS"])
def test_decode__formats_outside_the_list_are_refused(format_: str) -> None:
    with pytest.raises(DecodeError, match="allowed format"):
        decode(encoded(picture(), format_))


def png_header(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, [bytes(999)])


@cache
def giants() -> dict[str, bytes]:
    """Small files that say they are large, and one that is."""
    one = encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    tags = tiff_tags(16, 16, [8], 1)
    del tags[278]
    tile = tags | {259: (SHORT, [8]), 322: (4, [30_000]), 323: (4, [30_000]), 324: (4, [8]), 325: (4, [9])}
    return {
        "png of 120 megapixels": png(12_000, 10_000, 8, 0, [bytes(12_000)] * 10_000),
        "gif canvas": gif(65_535, 65_535, gif_frame((0, 0, 1, 1), b"\1")),
        "gif frame": gif(1, 1, gif_frame((0, 0, 65_535, 65_535), b"\1", disposal=2)),
        "webp": webp(16_384, 16_384, one, 0x10),
        "webp beyond what it can be": webp(2**24, 2**24, one, 0x10),
        "webp just above": webp(8_192, 6_401, one, 0x10),
        "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "tiff": tiff("<", tiff_tags(100_000, 100_000, [8], 1), b"1234"),
        "tiff, absurd": tiff(">", tiff_tags(2**32 - 1, 2**32 - 1, [8], 1), b"1234"),
        "tiff tile": tiff("<", tile, b"1234"),
        "tiff tag": tiff("<", tiff_tags(2, 2, [8], 1) | {258: (SHORT, [8] * 60_000)}, b"1234")[:300],
        "tiff samples": tiff("<", tiff_tags(2, 2, [8], 1) | {277: (4, [2**32 - 1])}, b"1234"),
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", list(giants()))
def test_decode__giants_are_refused_at_once(name: str) -> None:
    data = giants()[name]
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_decode__png_chunk_that_unpacks_to_much_is_refused(kind: bytes) -> None:
    data = png(1, 1, 8, 0, [b"\0"], (kind, b"name\0\0" + zlib.compress(bytes(50_000_000))))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="too large"):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("format_", ["GIF", "TIFF", "PNG"])
def test_decode__later_frames_are_not_touched(format_: str) -> None:
    """A million frames too large to be decoded behind the first, or others with their data overwritten."""
    if format_ == "GIF":
        data = gif(2, 1, gif_frame((0, 0, 2, 1), b"\5\6"), gif_frame((0, 0, 9_000, 9_000), b"\5") * 1_000_000)
    else:
        frames = [picture(2, 1, seed) for seed in range(300)]
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    assert decode(data).size == (2, 1)


def test_decode__jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + last * 50 + data[-2:]).size == (64, 64)
    with pytest.raises(DecodeError, match="scans"):
        decode(data[:-2] + last * 500 + data[-2:])


def test_decode__jpeg_of_endless_exif_is_refused() -> None:
    data = encoded(Image.new("L", (8, 8)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 60_000) + b"Exif\0\0".ljust(59_998, b"x")
    with pytest.raises(DecodeError, match="EXIF"):
        decode(data[:2] + segment * 300 + data[2:])


def test_decode__webp_that_would_not_fit_into_memory_with_its_file_is_refused() -> None:
    """A chunk nobody knows makes the file large."""
    image = encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    frame = b"ANMF" + struct.pack("<I", 16 + len(image)) + bytes(12) + b"\x64\0\0\0" + image
    chunks = b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame + b"junk" + struct.pack("<I", 90 << 20) + bytes(90 << 20)
    with pytest.raises(DecodeError, match="1 GiB"):
        decode(webp(8_192, 6_400, chunks, 0x02))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", cases.WORST)
def test_decode__no_allowed_image_takes_a_gibibyte(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / kind)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-m", "tests.data.decode_cases", kind, path], check=True, cwd=root)
    script = (
        "import sys, pathlib; from data.decode import decode; from tests.data.decode_cases import peak_mib\n"
        "size = decode(pathlib.Path(sys.argv[1]).read_bytes()).size; print(*size, peak_mib())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], check=True, cwd=root, capture_output=True, text=True, timeout=300
    )
    width, height, peak = done.stdout.split()
    assert (int(width), int(height)) == ((8192, 6400) if kind == "gif" else (6400, 8192))
    assert int(width) * int(height) == MAX_PIXELS
    assert float(peak) < 1024


@pytest.mark.parametrize("size", [(8_192, 6_401), (10_001, 10_000), (100_000, 100_000), (2**31 - 1, 1)])
def test_decode__too_many_pixels_are_refused_before_they_take_memory(size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"above the limit of 52,428,800 pixels"):
            decode(png_header(*size))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(1, 65_536), (65_536, 1), (1, 52_428_800)])
def test_decode__a_side_that_a_pass_of_the_resize_would_make_gigabytes_of(size: tuple[int, int]) -> None:
    with pytest.raises(DecodeError, match=r"a side above the limit of 65,535 pixels"):
        decode(png_header(*size))


def test_decode__just_within_the_limit_is_not_refused_for_its_size() -> None:
    with pytest.raises(DecodeError) as error:
        decode(png_header(100, 100))
    assert "limit" not in str(error.value)


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


def whole_files() -> list[bytes]:
    """One valid file of every kind that has a parser of its own."""
    image = picture()
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    few = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [image.rotate(180)]}
    return [
        encoded(image, "JPEG", exif=exif(6)),
        encoded(image, "JPEG", progressive=True),
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(image, "MPO", **more),
        encoded(clear, "PNG", exif=exif(6)),
        encoded(few, "PNG", transparency=3),
        encoded(deep, "PNG"),
        encoded(image, "PNG", **more),
        encoded(clear, "WEBP", exif=exif(6)),
        encoded(image, "WEBP", lossless=True, **more),
        gif(9, 9, gif_frame((1, 1, 2, 1), b"\5\6", 5, 2), gif_frame((0, 0, 2, 1), b"\5\6")),
        encoded(image, "BMP"),
        encoded(few, "BMP"),
        encoded(image, "TIFF", exif=exif(6)),
        encoded(clear, "TIFF", compression="tiff_lzw"),
        encoded(image.convert("1"), "TIFF", compression="group4"),
        encoded(deep, "TIFF"),
    ]


EDITS = st.lists(st.tuples(st.integers(0, 5_000), st.binary(max_size=4), st.integers(0, 8)), max_size=5)


@pytest.mark.parametrize("number", range(17))
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(edits=EDITS, kept=st.integers(0, 8_000))
def test_decode__edited_bytes_give_an_image_or_a_decode_error(
    number: int, edits: list[tuple[int, bytes, int]], kept: int
) -> None:
    """Each edit puts bytes in the place of others, near the start more often than not."""
    data = bytearray(WHOLE[number])
    for place, new, dropped in edits:
        start = place % (len(data) + 1) if place % 2 else place % (min(len(data), 120) + 1)
        data[start : start + dropped] = new
    with suppress(DecodeError):
        image = decode(bytes(data[:kept]))
        assert image.mode == "RGB"
        assert min(image.size) > 0


WHOLE = whole_files()


def test_decode__threads_do_not_disturb_each_other() -> None:
    expected = [pixels(decode(data)) for data in WHOLE]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(decode, WHOLE * 20))
    assert all(np.array_equal(pixels(image), expected[number % len(WHOLE)]) for number, image in enumerate(decoded))


def test_decode__real_photograph() -> None:
    path, _ = elpv_rows()[0]
    image = decode(path.read_bytes())
    assert (image.mode, image.size) == ("RGB", (300, 300))
    with Image.open(path) as original:
        assert np.array_equal(pixels(image)[..., 1], pixels(original))


def heic(orientation: int = 1, side: tuple[int, int] = (64, 48)) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = Image.new("RGB", side, "red")
    picture.paste("blue", (0, 0, side[0] // 2, side[1] // 2))
    pillow_heif.register_heif_opener()
    return encoded(picture, "HEIF", exif=exif.tobytes())


def test_decode__heic_upright() -> None:
    image = decode(heic(orientation=6))
    assert (image.mode, image.size) == ("RGB", (48, 64))
    close = np.abs(pixels(image)[[5, 5, -5], [5, -5, 5]] - [[255, 0, 0], [0, 0, 255], [255, 0, 0]])
    assert close.max() < 8
    assert not image.info


def test_decode__heic_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setattr("data.decode.reads_heic", lambda: False)
    with pytest.raises(DecodeError, match="HEIC needs the package pillow-heif: pip install pillow-heif"):
        decode(data)


@pytest.mark.parametrize("end", [40, 200, -1])
def test_decode__heic_cut_short(end: int) -> None:
    with pytest.raises(DecodeError):
        decode(heic()[:end])


def test_decode__heic_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setattr("data.decode.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(DecodeError, match="64 × 48: above the limit"):
        decode(data)
