"""Image files put together by hand, for what Pillow does not write, and the largest that the contract allows.

Imports no torch: the memory of what runs here is measured.
"""

import io
import struct
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHORT, LONG = 3, 4
PALETTE = tuple((index * 2, 255 - index, index * 53 % 256) for index in range(128))
"""The colors of every GIF here."""


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: Iterable[bytes], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG; ``rows`` hold the packed samples of each row, ``chunks`` come before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in parts)


def tiff(order: str, tags: Mapping[int, tuple[int, Sequence[int]]], pixels: bytes = b"") -> bytes:
    """A TIFF in byte order ``order`` ("<" or ">") of one uncompressed strip; its place and length are added."""
    entries = {**tags, 273: (LONG, [0]), 279: (LONG, [len(pixels)])}
    behind = 8 + 2 + 12 * len(entries) + 4
    long = b""
    records = []
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(packed) > 4:
            place, long = behind + len(long), long + packed
            packed = struct.pack(f"{order}I", place)
        records.append((tag, kind, len(values), packed.ljust(4, b"\0")))
    start = struct.pack(f"{order}I", behind + len(long))
    directory = b"".join(struct.pack(f"{order}HHI", *r[:3]) + (start if r[0] == 273 else r[3]) for r in records)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}IH", 8, len(entries)) + directory + bytes(4) + long + pixels


def tiff_tags(width: int, height: int, bits: Sequence[int], photometric: int) -> dict[int, tuple[int, Sequence[int]]]:
    """What every TIFF needs."""
    return {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, bits),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [len(bits)]),
        278: (LONG, [height]),
    }


def gif_frame(
    box: tuple[int, int, int, int], indices: bytes, transparent: int | None = None, disposal: int = 0
) -> bytes:
    """A frame at ``box`` (left, top, width, height). Clearing the table often keeps each code one byte long."""
    codes = b"".join(b"\x80" + indices[start : start + 100] for start in range(0, len(indices), 100)) + b"\x81"
    blocks = b"".join(
        bytes([len(codes[start : start + 255])]) + codes[start : start + 255] for start in range(0, len(codes), 255)
    )
    control = struct.pack("<BHB", disposal << 2 | (transparent is not None), 10, transparent or 0)
    return b"!\xf9\x04" + control + b"\0," + struct.pack("<HHHHB", *box, 0) + b"\x07" + blocks + b"\0"


def gif(width: int, height: int, *frames: bytes, background: int = 0) -> bytes:
    """A GIF with ``PALETTE``."""
    colors = bytes(level for color in PALETTE for level in color)
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF6, background, 0) + colors + b"".join(frames) + b";"


def webp(width: int, height: int, chunks: bytes, flags: int) -> bytes:
    """An extended WebP with this canvas."""
    canvas = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def exif_bytes(orientation: int, order: str = ">", kind: int = SHORT) -> bytes:
    """An EXIF block with one tag."""
    value = struct.pack(
        f"{order}{'HH' if kind == SHORT else 'I'}", *([orientation, 0] if kind == SHORT else [orientation])
    )
    magic = b"MM\0*" if order == ">" else b"II*\0"
    return b"Exif\0\0" + magic + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


WORST = ("jpeg", "jpeg-cmyk", "png-rgba", "png-la", "png-palette", "png-gray16", "gif", "webp", "tiff-rgba16")


def worst(kind: str, width: int = 8192, height: int = 6400) -> bytes:
    """A file of a kind that takes much memory to decode, at the most pixels allowed; turned where the format can."""
    ramp = np.tile((np.arange(width) % 256).astype(np.uint8), (height, 1))
    exif = exif_bytes(6)
    stream = io.BytesIO()
    if kind == "jpeg":
        Image.fromarray(np.dstack([ramp] * 3)).save(stream, "JPEG", progressive=True, subsampling=0, exif=exif)
    elif kind == "jpeg-cmyk":
        image = Image.frombytes("CMYK", (width, height), np.dstack([ramp] * 4).tobytes())
        image.save(stream, "JPEG", progressive=True, exif=exif)
    elif kind == "png-rgba":
        Image.fromarray(np.dstack([ramp] * 4)).save(stream, "PNG", compress_level=1, exif=exif)
    elif kind == "png-la":
        Image.fromarray(np.dstack([ramp] * 2)).save(stream, "PNG", compress_level=1, exif=exif)
    elif kind == "png-palette":
        image = Image.frombytes("P", (width, height), ramp.tobytes())
        image.putpalette(bytes(range(256)) * 3)
        image.save(stream, "PNG", compress_level=1, transparency=bytes(range(256)), exif=exif)
    elif kind == "png-gray16":
        Image.fromarray(ramp.astype(np.uint16) * 257).save(stream, "PNG", compress_level=1, exif=exif)
    elif kind == "gif":
        return gif(width, height, gif_frame((0, 0, width, height), (ramp % 128).tobytes(), 3, disposal=2))
    elif kind == "webp":
        Image.fromarray(np.dstack([ramp] * 4)).save(stream, "WEBP", lossless=True, quality=0, method=0, exif=exif)
    elif kind == "tiff-rgba16":
        pixels = zlib.compress(bytes(width * height * 8), 1)
        tags = tiff_tags(width, height, [16] * 4, 2) | {259: (SHORT, [8]), 274: (SHORT, [6]), 338: (SHORT, [2])}
        return tiff("<", tags, pixels)
    return stream.getvalue()


def peak_mib() -> float:
    """The most memory this process has held. ``getrusage`` counts what the process was forked from, this does not."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(worst(sys.argv[1]))
