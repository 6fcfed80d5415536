import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from data import parallel
from data import scan as scan_module
from data.listing import collect
from data.readers.record import Record
from data.scan import perceptual_hash, pixel_digest, scan
from data.storage import read_bytes
from run.errors import UserError
from tests.support import elpv_rows, encoded, picture


def listing(paths: list[Path]) -> pa.Table:
    return collect(Record(uri=str(path), where=path.name) for path in paths)


@pytest.fixture
def paths() -> list[Path]:
    return sorted(path for path, _ in elpv_rows()[:300])


def test_scan__processes_and_threads_find_the_same(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(paths) >= parallel.WORTH_PROCESSES
    found = scan(listing(paths), tmp_path / "processes")
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 10**9)
    assert scan(listing(paths), tmp_path / "threads").equals(found)
    rows = found.to_pylist()
    assert [row["image_id"] for row in rows] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert {(row["width"], row["height"], row["status"]) for row in rows} == {(300, 300, "ok")}


def test_scan__rows_come_in_the_order_asked(paths: list[Path], tmp_path: Path) -> None:
    scan(listing(paths[:20]), tmp_path)
    found = scan(listing(paths[5:30]), tmp_path)
    assert found.column("image_id").to_pylist() == [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths[5:30]]


def test_scan__a_file_that_does_not_decode(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_text("<html>")
    (row,) = scan(listing([path]), tmp_path / "scan").to_pylist()
    assert row["status"].startswith("not an image")
    assert (row["pixels"], row["phash"], row["width"]) == (row["image_id"], None, 0)


def test_scan__a_file_that_cannot_be_read_is_tried_again(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flaky(uri: str) -> bytes:
        if uri == str(paths[3]):
            raise OSError("the disk is slow today")
        return read_bytes(uri)

    monkeypatch.setattr(scan_module, "read_bytes", flaky)
    with pytest.raises(UserError, match=r"(?s)1 image is there but cannot be read.*the disk is slow today"):
        scan(listing(paths[:10]), tmp_path)
    monkeypatch.setattr(scan_module, "read_bytes", read_bytes)
    assert len(scan(listing(paths[:10]), tmp_path)) == 10


@pytest.mark.skipif(sys.platform == "darwin", reason="processes there do not inherit what the test replaces")
def test_scan__a_killed_process_is_told(paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "decode", lambda data: os._exit(9))
    with pytest.raises(UserError, match="a process that was reading images was ended from outside"):
        scan(listing(paths), tmp_path)


def test_pixel_digest__tells_sizes_and_pixels_apart() -> None:
    image = picture(40, 30)
    assert pixel_digest(image) == pixel_digest(image.copy())
    assert pixel_digest(image) != pixel_digest(image.resize((30, 40)))
    changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    assert pixel_digest(image) != pixel_digest(changed)


def test_perceptual_hash__stays_close_after_resizing_and_encoding() -> None:
    images = [picture(300, 200, seed) for seed in range(8)]
    hashes = np.array([perceptual_hash(image) for image in images], np.uint64)
    smaller = np.array([perceptual_hash(image.resize((150, 100))) for image in images], np.uint64)
    distance = np.bitwise_count(hashes[:, None] ^ smaller[None])
    assert (np.diag(distance) <= 4).all()
    assert (distance[~np.eye(8, dtype=bool)] > 8).all()
    poor = Image.open(io.BytesIO(encoded(images[0], "JPEG", quality=30)))
    assert (perceptual_hash(poor) ^ perceptual_hash(images[0])).bit_count() <= 4
