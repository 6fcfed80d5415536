"""Label files of strangers: what a row may take has bounds, and one message says which was passed."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.config import SourceConfig
from data.readers import images, json_array, read, text
from data.readers.formats import cvat, huggingface, parquet
from data.readers.images import ImageRoot
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO, encoded, picture

LIMIT = 10_000
LONG = "x" * 3 * LIMIT


def write_parquet(path: Path) -> None:
    rows = [{"image": {"bytes": b"0" * 3 * LIMIT, "path": None}, "label": "sound"}]
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_uneven_parquet(path: Path) -> None:
    rows = [{"image": {"bytes": b"0" * size, "path": None}, "label": "sound"} for size in (1, 1, 1, 1, 2 * LIMIT)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def write(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


TAGS = "".join('<tag label="sound"></tag>' for _ in range(50))


@pytest.mark.parametrize(
    ("name", "make", "place"),
    [
        ("a.jsonl", write(f'{{"image": "a.png", "label": "sound", "more": "{LONG}"}}\n'), "a.jsonl, line 1: the line"),
        ("a.csv", write(f"image,label\na.png,sound{LONG}\n"), "a.csv, line 2: the line"),
        ("a.json", write(f'[{{"data": {{"image": "{LONG * 9}"}}}}]'), "a.json, line 1: an object"),
        ("a.xml", write(f'<annotations><image id="7" name="a">{TAGS}</image></annotations>'), "image 7: the number of"),
        ("a.xml", write(f'<annotations><image id="7" name="{LONG * 9}"/></annotations>'), "a.xml, line 1: a tag"),
        ("coco.json", write(f'{{"images": [], "categories": [], "info": "{LONG}"}}'), "coco.json: the file"),
        ("a.parquet", write_parquet, "a.parquet: a row"),
        ("a.parquet", write_uneven_parquet, "a.parquet, row 4: an image"),
    ],
)
def test_read__what_is_too_large_is_refused_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], object], place: str
) -> None:
    for module in (text, json_array, cvat):
        monkeypatch.setattr(module, "MOST_LINE", LIMIT)
    monkeypatch.setattr(text, "MOST_JSON", LIMIT)
    monkeypatch.setattr(text.lines, "__defaults__", (LIMIT,))
    monkeypatch.setattr(json_array, "_CHUNK", LIMIT)
    monkeypatch.setattr(cvat, "_CHUNK", LIMIT)
    monkeypatch.setattr(cvat, "_MOST_TAGS", 20)
    for module in (images, parquet):
        monkeypatch.setattr(module, "MOST_BYTES", LIMIT)
    make(tmp_path / name)
    with pytest.raises(UserError, match=rf"{place}.* is above the limit of [\d,]+ (bytes|tags)"):
        list(read(Source(SourceConfig(path=str(tmp_path / name)), TWO, tmp_path / "store")))


def test_huggingface__rows_reach_their_own_data_sets_files_only(tmp_path: Path) -> None:
    hub, unpacked = tmp_path / "hub", tmp_path / "extracted"
    own = huggingface.downloaded("acme/panels", hub)
    archive = own / "snapshots" / "abc" / "images.zip"
    inside = hashlib.sha256(str(archive).encode()).hexdigest()
    places = {
        "own": own / "snapshots" / "abc" / "a.png",
        "unpacked": unpacked / inside / "a.png",
        "other": huggingface.downloaded("acme/private", hub) / "snapshots" / "abc" / "b.png",
        "others": unpacked / ("0" * 64) / "c.png",
        "token": tmp_path / "token",
    }
    for path in (archive, *places.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(), "PNG"))
    source = Source(SourceConfig(path="acme/panels"), TWO, tmp_path / "store")
    root = ImageRoot(source, str(own), also=huggingface.unpacked_from(own, unpacked))
    for name in ("own", "unpacked"):
        assert root.locate({"bytes": None, "path": str(places[name])}, name).uri == str(places[name])
    for name in ("other", "others", "token"):
        with pytest.raises(UserError, match="outside the image root"):
            root.locate({"bytes": None, "path": str(places[name])}, name)


def test_huggingface__a_revision_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load_dataset(*names: str, **options: Any) -> Any:
        asked.append((*names, options))
        raise ValueError("asked")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for path in ("acme/panels@v1.2", "acme/panels"):
        with pytest.raises(UserError, match="no dataset could be loaded"):
            list(read(Source(SourceConfig(path=path), TWO, tmp_path)))
    assert asked == [("acme/panels", {"revision": "v1.2"}), ("acme/panels", {"revision": None})]


def test_huggingface__the_commit_that_was_read_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    path = huggingface.downloaded("acme/panels", tmp_path / "hub") / "snapshots" / commit / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(picture(), "PNG"))
    found = datasets.Dataset.from_dict({"image": [str(path)], "label": ["sound"]})
    # As `datasets` notes what it downloads.
    found.info.download_checksums = {f"hf://datasets/acme/panels@{commit}/data/train-00000-of-00001.parquet": {}}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    for name, revisions in (("acme/panels", {"acme/panels": commit}), ("acme/panels@v1", {})):
        source = Source(SourceConfig(path=name, format="huggingface"), TWO, tmp_path / "store")
        assert len(list(read(source))) == 1
        assert source.revisions == revisions
