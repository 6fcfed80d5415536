from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.readers import read
from data.readers.source import Source, split_named
from data.storage import read_bytes
from run.errors import UserError
from tests.data.readers.ten_formats import Photo, Written, photos, write_all
from tests.data.stores import BUCKET, s3_store, upload, web_server
from tests.support import TWO

FORMATS = ["folder", "csv", "tsv", "jsonl", "parquet", "label_studio", "cvat", "coco", "classes_csv"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Photo], Written]:
    root = tmp_path_factory.mktemp("formats") / "images"
    rows = photos(root, TWO.names, count=1)
    return root, rows, write_all(root, rows, list(TWO.names))


@pytest.fixture(scope="module")
def places(written: tuple[Path, list[Photo], Written]) -> Iterator[dict[str, str]]:
    folder = written[0].parent
    with pytest.MonkeyPatch.context() as patch, s3_store(patch) as client, web_server(folder) as address:
        upload(client, folder, "set/")
        yield {"s3": f"s3://{BUCKET}/set", "web": address}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("store", ["s3", "web"])
def test_read__labels_and_images_elsewhere(
    written: tuple[Path, list[Photo], Written], places: dict[str, str], tmp_path: Path, store: str, format_: Any
) -> None:
    root, rows, sources = written
    path, settings = sources[format_]
    place = places[store]
    settings = {**settings, **({"image_root": f"{place}/images"} if "image_root" in settings else {})}
    uri = f"{place}/{path.relative_to(root.parent).as_posix()}"
    records = list(read(Source(SourceConfig(format=format_, path=uri, **settings), TWO, tmp_path)))
    assert {(r.uri, r.target, r.split) for r in records} == {
        (f"{place}/images/{row.path}", tuple(float(row.label == n) for n in TWO.names), split_named(row.split, ""))
        for row in rows
    }
    assert len(records) == len(rows)
    assert read_bytes(records[0].uri).startswith(b"\x89PNG")


@pytest.mark.parametrize("store", ["s3", "web"])
def test_read__auto_looks_elsewhere(places: dict[str, str], tmp_path: Path, store: str) -> None:
    place = places[store]
    settings: dict[str, Any] = {"image_root": f"{place}/images"}
    for name in ("labels.csv", "labels.parquet", "labels.xml", "labels.coco.json", "labels.tasks.json"):
        assert len(list(read(Source(SourceConfig(path=f"{place}/{name}", **settings), TWO, tmp_path)))) == 6
    assert len(list(read(Source(SourceConfig(path=f"{place}/images"), None, tmp_path)))) == 6
    with pytest.raises(UserError, match=r"_classes\.csv; the folders broken, sound"):
        list(read(Source(SourceConfig(path=f"{place}/images"), TWO, tmp_path)))


def test_read__a_local_table_may_name_images_in_a_bucket(places: dict[str, str], tmp_path: Path) -> None:
    """The images themselves are not asked for."""
    table = tmp_path / "labels.csv"
    table.write_text("image,label\ns3://other/a.png,sound\n../b.png,broken\n")
    config = SourceConfig(path=str(table), image_root="s3://other/in")
    with pytest.raises(UserError, match=r"(?s)2 problems.*s3://other/a\.png.*outside the image root s3://other/in"):
        list(read(Source(config, TWO, tmp_path)))
    config = SourceConfig(path=str(table), image_root="s3://other/in", allow_outside=True)
    assert [r.uri for r in read(Source(config, TWO, tmp_path))] == ["s3://other/a.png", "s3://other/b.png"]


@pytest.mark.parametrize("format_", [*FORMATS, "huggingface", "auto"])
def test_read__what_is_not_there_is_one_clear_message(places: dict[str, str], tmp_path: Path, format_: Any) -> None:
    for place in places.values():
        with pytest.raises(UserError, match=r"data\.path: .*none"):
            list(read(Source(SourceConfig(format=format_, path=f"{place}/none.csv"), TWO, tmp_path)))
