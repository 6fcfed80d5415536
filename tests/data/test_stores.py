"""Folders and label files in a store: what is read, and how many requests that takes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs

from data import listing
from data.config import SourceConfig
from data.listing import collect
from data.readers import read
from data.readers.source import Source
from data.scan import scan
from data.storage import read_bytes
from run.errors import UserError
from tests.data.stores import BUCKET, s3_store, web_server
from tests.support import TWO, encoded, picture

IMAGE = encoded(picture(), "PNG")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, s3_store(patch) as client:
        yield client


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The requests that go to the store, by S3's name of them."""
    counts: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **more: Any) -> Any:
        counts[method] += 1
        return await call(self, method, *arguments, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    return counts


def put(client: Any, prefix: str, **files: bytes) -> str:
    for name, data in files.items():
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=data)
    return f"s3://{BUCKET}/{prefix}"


def source(path: str, store: Path, **settings: Any) -> Source:
    return Source(SourceConfig(path=path, **settings), TWO, store)


def test_collect__a_folder_is_listed_and_no_image_is_asked_about(
    client: Any, requests: Counter[str], tmp_path: Path
) -> None:
    names = [f"{label}/{n} #+é.png" for n in range(40) for label in TWO.names]
    place = put(client, "labels", **dict.fromkeys(names, IMAGE))
    requests.clear()
    table = collect(read(source(place, tmp_path, format="folder")))
    assert len(table) == 80
    assert requests["head_object"] == 0
    assert requests["list_objects_v2"] < 10
    requests.clear()
    statuses = scan(table, tmp_path / "scan").column("status").to_pylist()
    assert set(statuses) == {"ok"}
    assert requests == {"get_object": 80}  # so few that no other process reads them


def test_collect__a_tables_folders_are_listed_where_that_is_less(
    client: Any, requests: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = put(client, "table", **{f"in/{n}.png": IMAGE for n in range(50)}, **{"out/1.png": IMAGE})
    rows = [*(f"in/{n}.png" for n in range(50)), "out/1.png"]
    (tmp_path / "labels.csv").write_text("image,label\n" + "".join(f"{row},sound\n" for row in rows))
    config = {"path": str(tmp_path / "labels.csv"), "image_root": place}
    requests.clear()
    listed = collect(read(source(store=tmp_path, **config)))
    assert requests == {"list_objects_v2": 1, "head_object": 1}
    monkeypatch.setattr(listing, "WORTH_LISTING", 10**9)
    requests.clear()
    assert collect(read(source(store=tmp_path, **config))).equals(listed)  # the same fingerprints
    assert requests == {"head_object": 51}


def test_collect__what_is_not_there_is_named_with_the_nearest(client: Any, tmp_path: Path) -> None:
    place = put(client, "gone", **{"in/Panel_1.png": IMAGE})
    (tmp_path / "labels.csv").write_text("image,label\nin/panel_1.png,sound\n")
    with pytest.raises(UserError, match=rf"line 2: {place}/in/panel_1\.png; the nearest .*: {place}/in/Panel_1\.png"):
        collect(read(source(str(tmp_path / "labels.csv"), tmp_path, image_root=place)))


def test_read__junk_and_other_files_in_a_store(client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"sound/1": IMAGE, "sound/2.jfif": IMAGE, "broken/3.png": IMAGE, "sound/4.AVIF": b"\0\0\0\x1cftypavif"}
    junk = {"@eaDir/1.png": IMAGE, "@eaDir/deep/2.png": IMAGE, "sound/._1.png": IMAGE, "sound/notes.txt": b"BM"}
    place = put(client, "junk", **files, **junk)
    found = read(source(place, tmp_path, format="folder"))
    assert sorted(Path(record.uri).name for record in found) == ["1", "2.jfif", "3.png"]
    said = capsys.readouterr().err
    assert "3 files that other programs made left alone: 1 ._* and 2 in @eaDir" in said
    assert "1 .AVIF" in said
    assert "1 .txt" in said


def test_read__a_cvat_project_in_a_store(client: Any, tmp_path: Path) -> None:
    image = '<image id="{}" name="frame_000{}" subset="{}"><tag label="sound"/></image>'
    body = image.format(0, ".png", "Train") + image.format(1, ".png", "Test") + image.format(2, "", "default")
    names = ("images/Train/frame_000.png", "images/Test/frame_000.png", "images/default/frame_000.PNG")
    xml = {"annotations.xml": f"<annotations>{body}</annotations>".encode()}
    place = put(client, "cvat", **dict.fromkeys(names, IMAGE), **xml)
    table = collect(read(source(f"{place}/annotations.xml", tmp_path)))
    assert sorted(table.column("uri").to_pylist()) == sorted(f"{place}/{name}" for name in names)
    assert sorted(filter(None, table.column("split").to_pylist())) == ["test", "train"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("in/a%20b.png", "in/a b.png"),
        ("in/a+b.png", "in/a+b.png"),
        ("in/c+d.png", "in/c d.png"),
        ("in\\e.png", "in/e.png"),
        ("in/e", "in/e.png"),
        ("in/e%CC%81.png", "in/é.png"),
        ("in/e.png?versionId=3", "in/e.png"),
        ("/data/local-files/?d=in/e.png", "in/e.png"),
        ("https://labels.example/data/upload/in/a%20b.png", "upload/in/a b.png"),
    ],
)
def test_collect__addresses_in_a_store(client: Any, tmp_path: Path, address: str, name: str) -> None:
    names = ("in/a b.png", "in/a+b.png", "in/c d.png", "in/e.png", "in/é.png", "upload/in/a b.png")
    place = put(client, "odd", **dict.fromkeys(names, IMAGE))
    (tmp_path / "labels.csv").write_text(f"image,label\n{address},sound\n")
    table = collect(read(source(str(tmp_path / "labels.csv"), tmp_path, image_root=place)))
    assert table.column("uri").to_pylist() == [f"{place}/{name}"]


def test_read__junk_and_cvats_subsets_on_the_web(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = '<image id="0" name="a b.png" subset="Train"><tag label="sound"/></image>'
    files = {"images/Train/a b.png": IMAGE, "images/Train/Thumbs.db": b"x", "images/Train/notes": b"x"}
    for name, data in {**files, "annotations.xml": f"<annotations>{xml}</annotations>".encode()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with web_server(tmp_path) as place:
        (record,) = read(source(f"{place}/annotations.xml", tmp_path))
        assert (record.uri, record.split) == (f"{place}/images/Train/a%20b.png", "train")
        assert read_bytes(record.uri) == IMAGE
        (picture_,) = read(Source(SourceConfig(path=f"{place}/images", format="folder"), None, tmp_path))
        assert picture_.uri == record.uri
    said = capsys.readouterr().err
    assert "1 file that other programs made left alone: 1 Thumbs.db" in said
    assert "1 file in folders is no picture, and left out: 1 without an ending" in said
