import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from data.labels import LabelSet
from export.golden.check import STEPS, check_golden, show_golden
from export.golden.images import golden_images
from export.golden.kit import GoldenIndex, GoldenRow, read_file
from export.golden.write import readme, write_golden
from export.rgb import write_rgb
from models.decision import DecisionRule
from models.spec import InputSpec
from run.errors import UserError
from run.files import file_digest
from tests.support import FOUR, edit_json, files_below


@pytest.fixture
def release(released: Path, tmp_path: Path) -> Path:
    """A release folder of one's own."""
    return Path(shutil.copytree(released, tmp_path / released.name))


def failed(release: Path) -> list[tuple[str, str]]:
    return [(row.image, row.step) for row in check_golden(release) if not row.passed]


def change_index(release: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit_json(release / "golden" / "index.json", change)


def entry_of(index: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in index["images"] if entry["name"] == name)


def brighten(path: Path, levels: int) -> None:
    """Change one pixel of a PNG."""
    with Image.open(path) as opened:
        values = np.asarray(opened.convert("RGB")).copy()
    values[0, 0] = np.where(values[0, 0] > 127, values[0, 0] - levels, values[0, 0] + levels)
    Image.fromarray(values).save(path)


def test_check_golden__untouched(release: Path) -> None:
    rows = check_golden(release)
    names = [image.name for image in golden_images()]
    assert [(row.image, row.step) for row in rows] == [(name, step) for name in names for step in STEPS]
    assert len(names) >= 12
    assert all(row.passed for row in rows)
    assert max(row.difference for row in rows if row.step in ("decode", "resize")) == 0


def test_check_golden__a_resized_pixel(release: Path) -> None:
    brighten(release / "golden" / "stripes.pixels.png", 3)
    assert ("stripes", "resize") in failed(release)
    assert {image for image, _ in failed(release)} == {"stripes"}
    assert ("stripes", "decode") not in failed(release)


def test_check_golden__a_decoded_pixel(release: Path) -> None:
    brighten(release / "golden" / "gradient.rgb.png", 1)
    assert failed(release)[0] == ("gradient", "decode")


def test_check_golden__another_encoded_image(release: Path) -> None:
    """The file was saved again by a tool that forgot the orientation."""
    path = release / "golden" / "exif.jpg"
    with Image.open(path) as image:
        image.save(path, exif=b"")
    (row,) = (row for row in check_golden(release) if not row.passed)
    assert (row.image, row.step, row.difference) == ("exif", "decode", math.inf)


@pytest.mark.parametrize("step", ["logits", "probabilities"])
def test_check_golden__a_number(release: Path, step: str) -> None:
    def change(index: dict[str, Any]) -> None:
        values = entry_of(index, "gray")[step]
        values[1] += 1.5 * entry_of(index, "gray")["tolerance"][step]

    change_index(release, change)
    assert failed(release) == [("gray", step)]


def test_check_golden__other_weights(release: Path) -> None:
    path = release / "onnx" / "model.onnx"
    model = onnx.load(path)
    (head,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.weight")
    head.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(head), head.name))
    onnx.save(model, path)
    write_rgb(path, release / "rgb.onnx")
    assert {step for _, step in failed(release)} == {"logits", "probabilities"}


def test_passed__never_for_nan() -> None:
    assert not GoldenRow("noise", "logits", math.nan, 1.0).passed
    assert GoldenRow("noise", "logits", 1.0, 1.0).passed


@pytest.mark.parametrize("damage", ["kit", "index", "key", "image"])
def test_check_golden__damaged(release: Path, damage: str) -> None:
    folder = release / "golden"
    if damage == "kit":
        shutil.rmtree(folder)
    elif damage == "index":
        (folder / "index.json").write_text("{")
    elif damage == "key":
        change_index(release, lambda index: entry_of(index, "gray").pop("logits"))
    else:
        (folder / "gray.rgb.png").unlink()
    with pytest.raises(UserError, match="does not exist" if damage == "kit" else "is damaged"):
        check_golden(release)


def test_show_golden__says_where_to_look(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_golden(release)
    assert "all 65 steps" in capsys.readouterr().out
    brighten(release / "golden" / "tall.pixels.png", 9)
    assert not show_golden(release)
    assert "resize of tall" in capsys.readouterr().out


def test_golden_index__reads_what_was_written(release: Path, tmp_path: Path) -> None:
    GoldenIndex.read(release).write(tmp_path)
    assert (tmp_path / "index.json").read_bytes() == (release / "golden" / "index.json").read_bytes()


def test_show_golden__an_image_of_another_size(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(release / "golden" / "exif.rgb.png") as image:
        image.rotate(90, expand=True).save(release / "golden" / "exif.rgb.png")
    assert not show_golden(release)
    said = capsys.readouterr().out
    assert "other size, or none" in said
    assert "inf" not in said


def test_write_golden__same_bytes_twice(release: Path) -> None:
    before = files_below(release / "golden")
    write_golden(release / "golden", release / "rgb.onnx", release / "onnx" / "model.onnx")
    assert files_below(release / "golden") == before
    assert not any(str(release).encode() in data for data in before.values())


def test_write_golden__is_small_and_explained(release: Path) -> None:
    files = files_below(release / "golden")
    assert sum(map(len, files.values())) < 1_500_000
    text = files["README.md"].decode()
    index = json.loads(files["index.json"])
    for entry in index["images"]:
        assert f"`{entry['file']}`" in text
        assert {entry["file"], entry["rgb"], entry["pixels"]} <= files.keys()
        assert len(entry["logits"]) == len(entry["probabilities"]) == len(entry["scores"]) == len(FOUR)
    assert tuple(index["labels"]["names"]) == FOUR.names


def in_the_hubs_cache(release: Path, folder: Path) -> Path:
    """The release as the Hub's client keeps it: links to files that are named by their digests."""
    snapshot = folder / "models--acme--panels" / "snapshots" / ("0" * 40)
    for path in (path for path in release.rglob("*") if path.is_file()):
        blob = snapshot.parents[1] / "blobs" / file_digest(path)
        link = snapshot / path.relative_to(release)
        for place in (blob, link):
            place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_read_file__links_of_the_hubs_cache_and_no_others(release: Path, tmp_path: Path) -> None:
    snapshot = in_the_hubs_cache(release, tmp_path / "hub")
    assert GoldenIndex.read(snapshot) == GoldenIndex.read(release)
    assert read_file(snapshot, "gray.rgb.png") == read_file(release, "gray.rgb.png")
    (tmp_path / "hub" / "token.png").write_bytes(b"secret")
    (snapshot / "golden" / "token.png").symlink_to(tmp_path / "hub" / "token.png")
    with pytest.raises(OSError, match=r"token\.png is a link"):
        read_file(snapshot, "token.png")
    # A whole folder that lies elsewhere.
    (release / "golden").rename(tmp_path / "elsewhere")
    (release / "golden").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"gray\.rgb\.png is a link"):
        read_file(release, "gray.rgb.png")


def test_readme__labels_are_only_names() -> None:
    labels = LabelSet(("sound`", "a\n# PASS", "<b>\u202e"), "nominal")
    spec = InputSpec(64, (0.5,) * 3, (0.2,) * 3, "squash", 1.0)
    text = readme(GoldenIndex(files={}, rule=DecisionRule.of(labels), spec=spec, decode="", images=()))
    assert "Labels, in the order of every list: `sound'`, `a # PASS`, `<b>\\u202e`." in text


def test_golden_images__are_what_their_names_say() -> None:
    opened = {image.name: Image.open(io.BytesIO(image.data)) for image in golden_images()}
    modes = {name: opened[name].mode for name in ("cmyk", "alpha", "palette", "gray", "gray16")}
    assert modes == {"cmyk": "CMYK", "alpha": "RGBA", "palette": "P", "gray": "L", "gray16": "I;16"}
    assert opened["progressive"].info["progressive"]
    assert opened["exif"].getexif()[274] == 6
    assert opened["one_pixel"].size == (1, 1)
    assert opened["wide"].width > 100 * opened["wide"].height
    assert opened["tall"].height > 100 * opened["tall"].width


@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
def test_golden_images__show_another_resize(release: Path, resample: Image.Resampling) -> None:
    """A resize that many platforms have is told apart by the kit."""
    off: dict[str, int] = {}
    for entry in json.loads((release / "golden" / "index.json").read_text(encoding="utf-8"))["images"]:
        with (
            Image.open(release / "golden" / entry["rgb"]) as rgb,
            Image.open(release / "golden" / entry["pixels"]) as px,
        ):
            theirs = np.asarray(rgb.convert("RGB").resize((112, 112), resample), np.int64)
            off[entry["name"]] = int(np.abs(theirs - np.asarray(px.convert("RGB"))).max())
    assert off["noise"] > 10
    assert off["one_pixel"] == 0
