import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data import parallel
from data import working as working_module
from data.config import DataConfig, ViewsConfig
from data.decode import decode
from data.loaders import load
from data.manifest import Manifest
from data.prepare import prepare
from data.resize import resize
from data.storage import read_bytes
from data.views import ViewSpec
from data.working import is_copy, make_working_copies, shrunk, warn_if_enlarged
from models.spec import InputSpec
from run.disk import DiskFullError
from run.errors import UserError
from run.folder import RunFolder
from tests.support import SPLITS, TWO, elpv_rows, encoded, files_below, picture

ROOT = Path(__file__).parents[2]
SIZES = [(300, 200), (200, 300), (96, 240), (64, 400), (90, 60)]


def manifest_of(folder: Path, sizes: list[tuple[int, int]]) -> Manifest:
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:04}.png"
        path.write_bytes(encoded(picture(*size, seed=number), "PNG", compress_level=1))
        rows.append(
            {
                "image_id": hashlib.sha256(path.read_bytes()).hexdigest(),
                "uri": str(path),
                "target": [1.0, 0.0],
                "votes": None,
                "split": "train",
                "group": path.stem,
                "width": size[0],
                "height": size[1],
                "status": "ok",
            }
        )
    return Manifest.of(TWO, rows)


def copies(run: RunFolder, size: int = 64) -> dict[str, bytes]:
    found = files_below(run.data / "working" / str(size))
    return {name: data for name, data in found.items() if name != ".lock"}


def test_make_working_copies__only_of_images_with_a_larger_shorter_side(tmp_path: Path) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES), RunFolder(tmp_path / "run")
    found = make_working_copies(manifest, run, 64)
    assert [is_copy(uri) for uri in found.column("uri")] == [True, True, True, False, False]
    for index, size in enumerate([(96, 64), (64, 96), (64, 160)]):
        image_id = manifest.column("image_id")[index]
        expected = run.data / "working" / "64" / image_id[:2] / f"{image_id}.jpg"
        assert found.column("uri")[index] == str(expected)
        assert load(str(expected)).size == size
    assert found.column("uri")[3:] == manifest.column("uri")[3:]
    assert len(copies(run)) == 3
    others = [name for name in manifest.table.column_names if name != "uri"]
    assert found.table.select(others).equals(manifest.table.select(others))


def test_make_working_copies__what_no_jpeg_can_hold_is_read_as_it_is(tmp_path: Path) -> None:
    rows = manifest_of(tmp_path / "images", [(65, 70)]).table.to_pylist()
    strip = Manifest.of(TWO, [{**rows[0], "width": 500, "height": 90_000}])
    assert make_working_copies(strip, RunFolder(tmp_path / "run"), 400).table.equals(strip.table)
    with pytest.raises(OSError, match="writing image file"):
        Image.new("RGB", (1, 65_501)).save(tmp_path / "a.jpg")
    Image.new("RGB", (1, 65_500)).save(tmp_path / "a.jpg")


def test_make_working_copies__null_gives_the_originals(tmp_path: Path) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES), RunFolder(tmp_path / "run")
    assert make_working_copies(manifest, run, None) is manifest
    assert not run.root.exists()


def test_make_working_copies__pixels_are_the_projects_resize_of_the_decoded_original(tmp_path: Path) -> None:
    turned = picture(300, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    turned.save(path, exif=exif, quality=95)
    manifest = manifest_of(tmp_path / "images", [(200, 300)])
    row = {**manifest.table.to_pylist()[0], "uri": str(path)}
    row["image_id"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (uri,) = make_working_copies(Manifest.of(TWO, [row]), RunFolder(tmp_path / "run"), 64).column("uri")
    upright = decode(path.read_bytes())
    assert upright.size == (200, 300)
    difference = np.abs(np.asarray(load(uri), int) - np.asarray(resize(upright, 64, 96), int))
    assert difference.max() <= 8
    assert difference.mean() < 1
    with Image.open(uri) as image:
        assert image.info.get("exif") is None
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3, "full chroma"  # type: ignore[attr-defined]


def test_make_working_copies__the_same_bytes_whatever_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, made = manifest_of(tmp_path / "images", [(80 + n, 70) for n in range(12)]), []
    for number, threshold in enumerate((1, 10**9)):
        monkeypatch.setattr(parallel, "WORTH_PROCESSES", threshold)
        run = RunFolder(tmp_path / f"run{number}")
        make_working_copies(manifest, run, 64)
        made.append(copies(run))
    assert len(made[0]) == 12
    assert made[0] == made[1]


def test_make_working_copies__makes_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES), RunFolder(tmp_path / "run")
    found, whole = make_working_copies(manifest, run, 64), copies(run)
    lost = Path(found.column("uri")[1])
    lost.unlink()
    (lost.parent / f".partial-{lost.name}").write_bytes(b"half")
    read: list[str] = []

    def noted(uri: str) -> bytes:
        read.append(uri)
        return read_bytes(uri)

    monkeypatch.setattr(working_module, "read_bytes", noted)
    assert make_working_copies(manifest, run, 64).table.equals(found.table)
    assert read == [manifest.column("uri")[1]]
    assert copies(run) == whole
    assert make_working_copies(found, run, 64).table.equals(found.table), "asked again of what has them"
    assert len(read) == 1


def test_make_working_copies__a_repeated_image_is_made_once(tmp_path: Path) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES[:1]), RunFolder(tmp_path / "run")
    twice = Manifest.of(TWO, manifest.table.to_pylist() * 2)
    assert len(set(make_working_copies(twice, run, 64).column("uri"))) == 1
    assert len(copies(run)) == 1


def test_make_working_copies__sizes_lie_apart(tmp_path: Path) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES[:2]), RunFolder(tmp_path / "run")
    uris = {size: make_working_copies(manifest, run, size).column("uri") for size in (64, 100)}
    assert {min(load(uri).size) for uri in uris[64]} == {64}
    assert {min(load(uri).size) for uri in uris[100]} == {100}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (encoded(picture(99, 98), "PNG"), "has changed: run `pocketeva prepare` again")],
)
def test_make_working_copies__images_that_went_bad_are_named_and_the_others_kept(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    manifest, run = manifest_of(tmp_path / "images", SIZES), RunFolder(tmp_path / "run")
    path = Path(manifest.column("uri")[0])
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s)no working copy of 1 images.*0000\.png.*{message}"):
        make_working_copies(manifest, run, 64)
    assert len(copies(run)) == 2


def test_make_working_copies__a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    manifest, run = manifest_of(tmp_path / "images", SIZES), RunFolder(tmp_path / "run")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DiskFullError, match=r"the disk is full: there is no room for .*\.jpg"):
        make_working_copies(manifest, run, 64)
    assert copies(run) == {}


SLOW = """
import sys, time
from pathlib import Path
from data import parallel, working
from data.manifest import Manifest
from data.labels import LabelSet
from run.folder import RunFolder

original = working.decode
def slow(data):
    with open(sys.argv[2] + ".log", "a") as log:
        log.write("x")
    time.sleep(0.05)
    return original(data)

working.decode = slow
parallel.WORTH_PROCESSES = 1
labels = LabelSet(("sound", "broken"), "nominal")
working.make_working_copies(Manifest.read(Path(sys.argv[1]), labels), RunFolder(Path(sys.argv[2])), 64)
"""


def waited(condition: Any, what: str) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "darwin", reason="processes there do not inherit what the script replaces")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_make_working_copies__killed_and_started_again(tmp_path: Path, how: signal.Signals) -> None:
    manifest = manifest_of(tmp_path / "images", [(80 + n, 70) for n in range(120)])
    manifest.write(tmp_path / "manifest.parquet")
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    command = [sys.executable, "-c", SLOW, str(tmp_path / "manifest.parquet"), str(run.root)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    waited(lambda: len(copies(run)) > 4, "no copy was made")
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: the workers get it too
        _, error = process.communicate(timeout=300)
        assert error.count("Traceback") == 1, "the workers say nothing"
        assert "KeyboardInterrupt" in error
    else:
        process.kill()
        process.communicate(timeout=300)  # returns once the workers have let go of the pipe: none outlives its parent
    before = copies(run)
    assert 4 < len([name for name in before if ".partial-" not in name]) < 120
    make_working_copies(manifest, run, 64)
    make_working_copies(manifest, whole, 64)
    after = {name: data for name, data in copies(run).items() if ".partial-" not in name}
    assert after == copies(whole)
    assert len(after) == 120


def test_make_working_copies__two_processes_at_once(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "images", [(80 + n, 70) for n in range(20)])
    manifest.write(tmp_path / "manifest.parquet")
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    command = [sys.executable, "-c", SLOW, str(tmp_path / "manifest.parquet"), str(run.root)]
    both = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    assert (tmp_path / "run.log").read_text() == "x" * 20, "each copy is made once"
    make_working_copies(manifest, whole, 64)
    assert copies(run) == copies(whole)


def mosaic(columns: int, rows: int) -> Image.Image:
    """A large photograph of many small ones, whose detail is as fine as its pixels."""
    sheet = Image.new("RGB", (300 * columns, 300 * rows))
    for place, (path, _) in enumerate(elpv_rows()[: columns * rows]):
        sheet.paste(load(str(path)), (place % columns * 300, place // columns * 300))
    return sheet


@pytest.mark.parametrize(("size", "largest", "mean"), [(448, 15, 1.0), (224, 5, 0.4)])
def test_make_working_copies__renders_differ_by_as_little_as_the_docs_say(
    tmp_path: Path, size: int, largest: float, mean: float
) -> None:
    original, spec = mosaic(7, 5), InputSpec(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    copy = decode(encoded(shrunk(original, 640), "JPEG", quality=working_module.QUALITY, subsampling="4:4:4"))
    difference = np.abs(spec.render(original).astype(int) - spec.render(copy).astype(int))
    assert 0 < difference.max() <= largest
    assert 0 < difference.mean() <= mean


def test_shrunk__keeps_the_aspect() -> None:
    assert shrunk(picture(400, 300), 64).size == (85, 64)
    assert shrunk(picture(300, 401), 64).size == (64, 86)
    assert shrunk(picture(200, 200), 64).size == (64, 64)


@pytest.mark.parametrize(("size", "warns"), [(None, False), (448, False), (447, True)])
def test_warn_if_enlarged__where_copies_are_smaller_than_the_input(
    size: int | None, warns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_if_enlarged(size, 448, "teacher")
    assert ("data.working_size is 447, and the teacher looks at 448" in capsys.readouterr().err) == warns


def test_working_size__is_part_of_what_keys_a_cache_but_not_of_how_views_are_drawn() -> None:
    specs = [ViewSpec.of(ViewsConfig(), size) for size in (None, 64, 65)]
    assert len({spec.digest for spec in specs}) == 3
    assert len({spec.draw("a", 3, 300, 200) for spec in specs}) == 1


def test_prepare__working_size_is_no_reason_to_prepare_again(tmp_path: Path) -> None:
    images = manifest_of(tmp_path / "images", [(40 + n, 30) for n in range(30)]).column("uri")
    table = tmp_path / "labels.csv"
    table.write_text("image,label\n" + "".join(f"{uri},{TWO.names[n % 2]}\n" for n, uri in enumerate(images)))
    run, stamps = RunFolder(tmp_path / "run"), []
    for size in (None, 64):
        prepare(
            run, TWO, DataConfig(format="csv", path=str(table), allow_outside=True, working_size=size, splits=SPLITS)
        )
        stamps.append((run.root / "stamps" / "prepare.json").stat().st_mtime_ns)
    assert stamps[0] == stamps[1]
    assert json.loads((run.root / "stamps" / "prepare.json").read_text())["inputs"]["data"]["working_size"] is None


@pytest.mark.parametrize("size", [0, -5, 31])
def test_data_config__refuses_tiny_working_sizes(size: int) -> None:
    with pytest.raises(ValueError, match=r"^working_size is -?\d+; it must be 32 or more, or null"):
        DataConfig(working_size=size)
