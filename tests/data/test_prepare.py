import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from data import scan
from data.config import DataConfig, SourceConfig, SplitsConfig
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare, require_current
from data.storage import read_bytes
from run.errors import UserError
from run.folder import RunFolder
from tests.support import SPLITS, TWO, elpv_rows, encoded, files_below, label_folders, picture


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Enough photographs for every split to have some."""
    return label_folders(tmp_path / "images", {"sound": 20, "broken": 20})


def config(path: Path, format_: Any = "folder", **settings: Any) -> DataConfig:
    return DataConfig(format=format_, path=str(path), **{"splits": SPLITS, **settings})


def rows(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {Path(row["uri"]).name: row for row in manifest.table.to_pylist()}


def audit(run: RunFolder) -> dict[str, Any]:
    return dict(json.loads((run.data / "audit.json").read_text()))


def test_prepare__one_row_per_image(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    manifest = prepare(run, TWO, config(images))
    found = rows(Manifest.read(run.manifest, TWO))
    assert found == rows(manifest)
    assert set(found) == {path.name for path in images.rglob("*.png")}
    for path in images.rglob("*.png"):
        row = found[path.name]
        assert row["image_id"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert row["uri"] == str(path)
        assert row["target"] == ([1.0, 0.0] if path.parent.name == "sound" else [0.0, 1.0])
        assert (row["width"], row["height"], row["status"]) == (300, 300, "ok")
    facts = audit(run)
    assert facts["rows"] == 40
    assert facts["refused"] == facts["duplicates"] == facts["conflicts"] == {"images": 0, "examples": []}
    counts = Counter((row["split"], "sound" if row["target"][0] else "broken") for row in found.values())
    assert all(facts["images"][split][name] == count for (split, name), count in counts.items())


def test_prepare__second_call_reads_no_image_and_writes_nothing(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    first = prepare(run, TWO, config(images))
    before = files_below(run.root)
    stamps = {path: path.stat().st_mtime_ns for path in run.root.rglob("*")}
    for path in images.rglob("*.png"):  # of equal size and time, so it can only be told by reading
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert prepare(run, TWO, config(images)).table.equals(first.table)
    assert files_below(run.root) == before
    assert {path: path.stat().st_mtime_ns for path in run.root.rglob("*")} == stamps
    os.utime(path)
    with pytest.raises(UserError, match="1 of 40 images cannot be read"):
        prepare(run, TWO, config(images))


def test_prepare__another_folder_gives_the_same_bytes(images: Path, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        prepare(run, TWO, config(images))
    assert runs[0].manifest.read_bytes() == runs[1].manifest.read_bytes()
    assert (runs[0].data / "audit.json").read_bytes() == (runs[1].data / "audit.json").read_bytes()


def test_prepare__new_images_move_none(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    before = rows(prepare(run, TWO, config(images)))
    for number in range(10):
        picture(seed=number).save(images / "broken" / f"new{number}.png")
    after = rows(prepare(run, TWO, config(images)))
    assert len(after) == 50
    assert {name: after[name]["split"] for name in before} == {name: row["split"] for name, row in before.items()}


def test_prepare__same_bytes_take_part_once(images: Path, tmp_path: Path) -> None:
    original = min((images / "sound").iterdir())
    shutil.copyfile(original, images / "sound" / "zz-copy.png")
    run = RunFolder(tmp_path / "run")
    manifest = prepare(run, TWO, config(images))
    found = rows(manifest)
    assert found[original.name]["status"] == "ok"
    assert found["zz-copy.png"]["status"] == f"duplicate of {original}"
    assert len(manifest.usable("train", "val", "calibration", "test")) == 40
    row = {"uri": str(images / "sound" / "zz-copy.png"), "reason": f"duplicate of {original}"}
    assert audit(run)["duplicates"] == {"images": 1, "examples": [row]}


def test_prepare__same_pixels_share_a_group_and_a_split(images: Path, tmp_path: Path) -> None:
    for number in range(12):
        image = picture(seed=number)
        image.save(images / "sound" / f"{number}.png")
        image.save(images / "sound" / f"{number}.bmp")
    found = rows(prepare(RunFolder(tmp_path / "run"), TWO, config(images)))
    for number in range(12):
        a, b = found[f"{number}.png"], found[f"{number}.bmp"]
        assert a["image_id"] != b["image_id"]
        assert (a["group"], a["split"], a["status"], b["status"]) == (b["group"], b["split"], "ok", "ok")


def test_prepare__same_bytes_with_two_labels_take_no_part(images: Path, tmp_path: Path) -> None:
    original = min((images / "sound").iterdir())
    shutil.copyfile(original, images / "broken" / "zz.png")
    run = RunFolder(tmp_path / "run")
    found = rows(prepare(run, TWO, config(images)))
    reason = "the same picture has different labels"
    other = images / "broken" / "zz.png"
    statuses = [f"{reason}: sound here, broken in {other}", f"{reason}: broken here, sound in {original}"]
    assert [found[path.name]["status"] for path in (original, other)] == statuses
    assert sorted(row["reason"] for row in audit(run)["conflicts"]["examples"]) == sorted(statuses)


def test_prepare__few_groups_are_blamed_for_an_empty_split(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    paths = sorted(images.rglob("*.png"))
    lines = [f"{path},{path.parent.name},{number % 3}" for number, path in enumerate(paths)]
    table.write_text("\n".join(["image,label,patient", *lines]))
    grouped = DataConfig(format="csv", path=str(table), group_column="patient", splits=SPLITS)
    with pytest.raises(UserError, match=r"split has no images: data.group_column patient .* make 3 groups"):
        prepare(RunFolder(tmp_path / "run"), TWO, grouped)


def test_prepare__same_picture_in_two_given_splits(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "splits" / "train")
    copied = sorted((images / "sound").iterdir())[:4]
    for path in copied:
        with Image.open(path) as image:  # other bytes, same pixels
            target = tmp_path / "splits" / "test" / "sound" / f"{path.stem}.bmp"
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"(?s)8 images have duplicates.*\(test\).*\(train\).*data.allow_leakage"):
        prepare(run, TWO, config(tmp_path / "splits"))
    assert not run.manifest.exists()
    found = rows(prepare(run, TWO, config(tmp_path / "splits", allow_leakage=True)))
    for path in copied:
        assert (found[path.name]["split"], found[f"{path.stem}.bmp"]["split"]) == ("train", "test")
    assert audit(run)["leakage"]["images"] == 8


def test_prepare__unreadable_images_are_listed_or_left_out(images: Path, tmp_path: Path) -> None:
    (images / "sound" / "page.jpg").write_text("<html>404</html>")
    (images / "sound" / "empty.png").touch()
    (images / "broken" / "cut.jpg").write_bytes(encoded(picture(200, 200), "JPEG")[:900])
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError) as error:
        prepare(run, TWO, config(images))
    assert str(error.value).startswith("3 of 43 images cannot be read (all of them are in ")
    for text in ("page.jpg: not an image", "empty.png: empty file", "cut.jpg: ", "data.skip_unreadable"):
        assert text in str(error.value)
    assert not run.manifest.exists()
    assert len((run.data / "refused.txt").read_text().splitlines()) == 3

    found = rows(prepare(run, TWO, config(images, skip_unreadable=True)))
    assert not (run.data / "refused.txt").exists()
    assert len(found) == 43
    assert {name for name, row in found.items() if row["status"] != "ok"} == {"page.jpg", "empty.png", "cut.jpg"}
    assert {Path(row["uri"]).name for row in audit(run)["refused"]["examples"]} == {"page.jpg", "empty.png", "cut.jpg"}


def test_prepare__a_renamed_extension_is_no_matter(images: Path, tmp_path: Path) -> None:
    (images / "sound" / "really-a.jpg").write_bytes(encoded(picture(), "PNG"))
    assert rows(prepare(RunFolder(tmp_path / "run"), TWO, config(images)))["really-a.jpg"]["status"] == "ok"


def test_prepare__odd_names_are_shown_as_they_are(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "sound" / "cat [red] [bold].png").touch()
    labels = LabelSet(("sound", "[/broken]"), "nominal")
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        for folder, label in (("sound", "sound"), ("broken", "[/broken]")):
            writer.writerows((str(path), label) for path in sorted((images / folder).iterdir()))
    prepare(RunFolder(tmp_path / "run"), labels, config(table, "csv", skip_unreadable=True))
    shown = capsys.readouterr()
    assert "[/broken]" in shown.out
    assert "cat[red][bold].png:emptyfile" in "".join(shown.err.split())


@pytest.mark.parametrize(
    ("spoil", "labels", "splits", "message"),
    [
        ("", ("sound", "broken", "odd"), SPLITS, "no training images for odd"),
        ("", ("sound", "broken"), SplitsConfig(val=0.2, calibration=0.2, test=0.0001), "the test split has no images"),
        ("sound", ("sound", "broken"), SPLITS, "no training images for sound"),
    ],
)
def test_prepare__empty_labels_and_splits(
    images: Path, tmp_path: Path, spoil: str, labels: tuple[str, ...], splits: SplitsConfig, message: str
) -> None:
    if spoil:
        shutil.rmtree(images / spoil)
    with pytest.raises(UserError, match=message):
        prepare(RunFolder(tmp_path / "run"), LabelSet(labels, "nominal"), config(images, splits=splits))


def test_prepare__given_splits_stay_and_missing_ones_are_drawn_from_training_images(
    images: Path, tmp_path: Path
) -> None:
    paths = sorted(images.rglob("*.png"))
    given = {path.name: "test" if number % 4 == 0 else "train" for number, path in enumerate(paths)}
    table = tmp_path / "labels.csv"
    lines = [f"{path},{path.parent.name},{given[path.name]}" for path in paths]
    table.write_text("\n".join(["image,label,split", *lines]))
    found = rows(prepare(RunFolder(tmp_path / "run"), TWO, config(table, "csv", split_column="split")))
    assert {name for name, row in found.items() if row["split"] == "test"} == {
        name for name, split in given.items() if split == "test"
    }
    assert {row["split"] for row in found.values()} == {"train", "val", "calibration", "test"}


def test_prepare__folder_csv_and_huggingface_agree(images: Path, tmp_path: Path) -> None:
    paths = sorted(images.rglob("*.png"))
    labels = [path.parent.name for path in paths]
    table = images.parent / "labels.csv"
    lines = [f"{path.relative_to(images.parent)},{label}" for path, label in zip(paths, labels, strict=True)]
    table.write_text("\n".join(["image,label", *lines]))
    feature = datasets.ClassLabel(names=sorted(TWO.names))
    rows_ = {
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "label": [feature.str2int(label) for label in labels],
    }
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    datasets.Dataset.from_dict(rows_, features=features).save_to_disk(tmp_path / "hf")

    sources = {"folder": images, "csv": table, "huggingface": tmp_path / "hf"}
    found = {}
    for format_, path in sources.items():
        manifest = prepare(RunFolder(tmp_path / "run" / format_), TWO, config(path, format_))
        columns = ("image_id", "target", "split", "group", "width", "height", "status")
        found[format_] = sorted(tuple(map(str, row)) for row in zip(*map(manifest.column, columns), strict=True))
    assert found["folder"] == found["csv"] == found["huggingface"]


def test_prepare__a_changed_config_is_read_again(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    before = rows(prepare(run, TWO, config(images)))
    after = rows(prepare(run, TWO, config(images, splits=replace(SPLITS, seed=5))))
    assert any(after[name]["split"] != row["split"] for name, row in before.items())


def test_prepare__a_recorded_split_is_kept_and_a_duplicate_joins_it(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    before = rows(prepare(run, TWO, config(images)))
    for path in sorted(images.rglob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))
        if before[path.name]["split"] == "test":
            path.unlink()  # the old image goes, its duplicate comes: it must not leave the test split
    after = rows(prepare(run, TWO, config(images)))
    assert {name for name, row in before.items() if row["split"] == "test"}.isdisjoint(after)
    for name, row in before.items():
        assert after[Path(name).with_suffix(".bmp").name]["split"] == row["split"]


def test_prepare__near_duplicates_are_reported_or_kept_together(images: Path, tmp_path: Path) -> None:
    for path in sorted((images / "sound").iterdir()):
        with Image.open(path) as image:
            image.resize((200, 200)).save(images / "sound" / f"{path.stem}-small.png")
    run = RunFolder(tmp_path / "run")
    apart = rows(prepare(run, TWO, config(images)))
    near = audit(run)["near_duplicates"]
    assert near["images"] >= 40
    assert near["crossing_splits"] > 0
    assert len({example["split"] for example in near["examples"][0]}) > 1
    pairs = [(name, f"{Path(name).stem}-small.png") for name in apart if f"{Path(name).stem}-small.png" in apart]
    assert len(pairs) == 20
    assert any(apart[a]["split"] != apart[b]["split"] for a, b in pairs)
    joined = rows(prepare(run, TWO, config(images, near_duplicates="group")))  # in spite of the recorded splits
    assert all(joined[a]["split"] == joined[b]["split"] for a, b in pairs)
    assert all(joined[a]["group"] == joined[b]["group"] for a, b in pairs)
    assert audit(run)["near_duplicates"]["crossing_splits"] == 0
    assert audit(run)["torn"]["images"] == 0


def test_prepare__a_group_column_stays_in_one_split(images: Path, tmp_path: Path) -> None:
    paths = sorted(images.rglob("*.png"))
    table = tmp_path / "labels.csv"
    lines = [f"{path},{path.parent.name},patient {number // 2}" for number, path in enumerate(paths)]
    table.write_text("\n".join(["image,label,patient", *lines]))
    run = RunFolder(tmp_path / "run")
    prepare(run, TWO, config(table, "csv"))
    found = rows(prepare(run, TWO, config(table, "csv", group_column="patient")))
    for first, second in zip(paths[::2], paths[1::2], strict=True):
        a, b = found[first.name], found[second.name]
        assert (a["group"], a["split"]) == (b["group"], b["split"])
    assert len({row["group"] for row in found.values()}) == 20


def test_prepare__unlabeled_images_join_one_split_of_their_own(images: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    labeled = rows(prepare(run, TWO, config(images)))
    held_out = [name for name, row in labeled.items() if row["split"] == "test"]
    pool = tmp_path / "pool"
    (pool / "deep").mkdir(parents=True)
    originals = {path.name: path for path in images.rglob("*.png")}
    shutil.copyfile(originals[held_out[0]], pool / "same bytes.png")
    with Image.open(originals[held_out[1]]) as image:
        image.save(pool / "same pixels.bmp")
    with Image.open(originals[held_out[2]]) as image:
        image.resize((150, 150)).save(pool / "nearly.png")
    fresh = [path for path, _ in elpv_rows()[100:103]]
    for path in fresh:
        shutil.copyfile(path, pool / "deep" / path.name)
    found = rows(prepare(run, TWO, config(images, unlabeled=SourceConfig(format="folder", path=str(pool)))))
    assert {name: row["split"] for name, row in found.items() if name in labeled} == {
        name: row["split"] for name, row in labeled.items()
    }
    assert found["same bytes.png"]["status"] == f"duplicate of {originals[held_out[0]]}"
    assert found["same pixels.bmp"]["status"] == f"duplicate of {originals[held_out[1]]}"
    assert found["nearly.png"]["status"].startswith("near-duplicate of ")
    for path in fresh:
        row = found[path.name]
        assert (row["split"], row["target"], row["status"]) == ("unlabeled", None, "ok")
    assert audit(run)["totals"]["unlabeled"] == 3


def noted_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every URI that is read from now on."""
    seen: list[str] = []

    def noted(uri: str) -> bytes:
        seen.append(uri)
        return read_bytes(uri)

    monkeypatch.setattr(scan, "read_bytes", noted)
    return seen


@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_prepare__killed_and_resumed_gives_the_same_bytes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    whole = RunFolder(tmp_path / "whole")
    prepare(whole, TWO, config(images))
    monkeypatch.setattr(scan, "SHARD", 10)
    seen: list[str] = []

    def failing(uri: str) -> bytes:
        seen.append(uri)
        if len(seen) > 10 * interrupted_after:
            raise KeyboardInterrupt
        return read_bytes(uri)

    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr(scan, "read_bytes", failing)
    with pytest.raises(KeyboardInterrupt):
        prepare(run, TWO, config(images))
    assert not run.manifest.exists()
    again = noted_reads(monkeypatch)
    prepare(run, TWO, config(images))
    assert len(again) == 40 - 10 * interrupted_after
    assert run.manifest.read_bytes() == whole.manifest.read_bytes()
    assert (run.data / "audit.json").read_bytes() == (whole.data / "audit.json").read_bytes()


def test_prepare__only_new_and_changed_images_are_read_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    prepare(run, TWO, config(images))
    picture(seed=1).save(images / "sound" / "new.png")
    changed = min((images / "broken").iterdir())
    picture(seed=2).save(changed)
    read = noted_reads(monkeypatch)
    found = rows(prepare(run, TWO, config(images)))
    assert sorted(read) == [str(changed), str(images / "sound" / "new.png")]
    assert found[changed.name]["image_id"] == hashlib.sha256(changed.read_bytes()).hexdigest()


def test_require_current__once_labels_have_changed(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    table = tmp_path / "labels.csv"
    paths = sorted(images.rglob("*.png"))
    lines = [f"{path},{path.parent.name}" for path in paths]
    table.write_text("\n".join(["image,label", *lines]))
    require_current(run, TWO, config(table, "csv"))  # before it is prepared that is for others to say
    prepare(run, TWO, config(table, "csv"))
    os.utime(paths[0], (1, 1))
    require_current(run, TWO, config(table, "csv"))
    other = {"sound": "broken", "broken": "sound"}
    lines[:2] = [f"{path},{other[path.parent.name]}" for path in paths[:2]]
    table.write_text("\n".join(["image,label", *lines[:-1]]))
    words = "2 labels changed, 1 image is gone"
    with pytest.raises(UserError, match=f"^since the last `pocketeva prepare`, {words} in .*labels.csv: run it again$"):
        require_current(run, TWO, config(table, "csv"))
    capsys.readouterr()
    prepare(run, TWO, config(table, "csv"))
    said = capsys.readouterr().err
    assert "prepare: again, because\n  files: 2 labels changed, 1 file changed, 1 image is gone\n" in said
    require_current(run, TWO, config(table, "csv"))


def test_prepare__columns_to_slice_by(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    lines = [
        f"{path},{path.parent.name},{'phone' if number % 2 else ' '},x"
        for number, path in enumerate(sorted(images.rglob("*.png")))
    ]
    table.write_text("\n".join(["image,label,device,other", *lines]) + "\n")
    run = RunFolder(tmp_path / "run")
    found = rows(prepare(run, TWO, config(table, "csv"), slices=["device"]))
    assert {str(row["metadata"]) for row in found.values()} == {"None", "[('device', 'phone')]"}
    assert {row["metadata"] for row in rows(prepare(run, TWO, config(table, "csv"))).values()} == {None}
    with pytest.raises(UserError, match=r"labels\.csv: no column 'camera'"):
        prepare(run, TWO, config(table, "csv"), slices=["camera"])
    with pytest.raises(UserError, match=r"verify\.slices: no image has a value for 'device'"):
        prepare(run, TWO, config(images), slices=["device"])
