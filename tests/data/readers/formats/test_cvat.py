from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.listing import collect
from data.readers.formats import cvat
from data.readers.formats.cvat import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")
START = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task/></meta>'


def records(folder: Path, body: str | bytes, labels: LabelSet | None = TWO, **settings: Any) -> list[Record]:
    path = folder / "annotations.xml"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return list(read(Source(SourceConfig(format="cvat", path=str(path), **settings), labels, folder)))


def image(name: str, *tags: str, number: int = 4, more: str = "") -> str:
    inner = "".join(f'<tag label="{tag}" source="manual"></tag>' for tag in tags)
    return f'<image id="{number}" name="{name}" width="3" height="3" {more}>{inner}</image>'


def test_read__tags_subsets_and_folders(tmp_path: Path) -> None:
    body = (
        START
        + image("a &amp; b.png", "broken", more='subset="Validation"')
        + image("test/c.png", "sound", "sound", more='subset="default"')
        + image("other/d.png", "sound").replace("</image>", '<box label="crack" xtl="1"></box></image>')
        + "</annotations>"
    )
    assert [(r.uri, r.target, r.split, r.where) for r in records(tmp_path, body)] == [
        (str(tmp_path / "a & b.png"), (0.0, 1.0), "val", "annotations.xml, image 4"),
        (str(tmp_path / "test/c.png"), (1.0, 0.0), "test", "annotations.xml, image 4"),
        (str(tmp_path / "other/d.png"), (1.0, 0.0), None, "annotations.xml, image 4"),
    ]


def test_read__several_labels_or_none(tmp_path: Path) -> None:
    body = START + image("a.png", "broken", "sound") + image("b.png") + "</annotations>"
    assert [r.target for r in records(tmp_path, body, MANY)] == [(1.0, 1.0), (0.0, 0.0)]
    assert [r.target for r in records(tmp_path, body, None)] == [None, None]
    with pytest.raises(UserError, match=r"(?s)2 problems:.*image 4: 2 labels .*image 4: 0 labels \(none\)"):
        records(tmp_path, body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (START + "</annotations>", "no images"),
        (START + image("a.png", "brokn") + "</annotations>", "image 4: label 'brokn'.*did you mean 'broken'"),
        (START + image("", "broken") + "</annotations>", "image 4: no image path"),
        (START + image("../a.png", "broken") + "</annotations>", "outside the image root"),
        (START + '<track id="0"></track></annotations>', "CVAT for video"),
        ("<root></root>", "no CVAT file: it starts with <root>"),
        (START + image("a.png", "sound"), "annotations.xml is no XML that can be read"),
        ("", "is no XML"),
        ("a,b", "is no XML"),
        ('<!DOCTYPE annotations SYSTEM "file:///etc/passwd"><annotations></annotations>', "declares a document type"),
        ('<!DOCTYPE a [<!ENTITY x "boom">]><annotations>&x;</annotations>', "declares a document type"),
        ('<!DOCTYPE a [<!ENTITY x "boom">]><annotations/>'.encode("utf-16"), "declares a document type"),
        ("<annotations>&x;</annotations>", "is no XML"),
    ],
)
def test_read__wrong_files(tmp_path: Path, body: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        records(tmp_path, body)


def test_read__images_may_lie_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat, "_CHUNK", 10)
    body = START + "".join(image(f"{n}ö.png", "broken") for n in range(9)) + "</annotations>"
    assert [r.uri for r in records(tmp_path, body)] == [str(tmp_path / f"{n}ö.png") for n in range(9)]


def test_read__the_archive_of_a_project(tmp_path: Path) -> None:
    for place in ("Train", "Test"):
        (tmp_path / "images" / place).mkdir(parents=True)
        (tmp_path / "images" / place / "frame_000.jpg").write_bytes(place.encode())
    (tmp_path / "images" / "Test" / "frame_001.PNG").touch()
    body = (
        START
        + image("frame_000.jpg", "sound", more='subset="Train" task_id="11"')
        + image("frame_000.jpg", "broken", more='subset="Test" task_id="12"')
        + image("frame_001", "broken", more='subset="Test" task_id="12"')
        + "</annotations>"
    )
    expected = [
        (str(tmp_path / "images/Train/frame_000.jpg"), "train"),
        (str(tmp_path / "images/Test/frame_000.jpg"), "test"),
        (str(tmp_path / "images/Test/frame_001.PNG"), "test"),
    ]
    assert [(r.uri, r.split) for r in records(tmp_path, body)] == expected
    assert [(r.uri, r.split) for r in records(tmp_path, body, image_root=str(tmp_path / "images"))] == expected


def test_collect__an_image_that_is_in_no_place_of_the_archive(tmp_path: Path) -> None:
    body = START + image("frame_000.jpg", "sound", number=0, more='subset="Train"') + "</annotations>"
    place = "annotations.xml, image 0: frame_000.jpg is neither in images/Train, nor in images, nor beside"
    with pytest.raises(UserError, match=place):
        collect(records(tmp_path, body))


def test_collect__two_images_of_one_name_are_two(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    body = START + "".join(image("a.jpg", "sound", more=f'task_id="{n}"') for n in (1, 2)) + "</annotations>"
    with pytest.raises(UserError, match="1 address comes to a file that another one comes to"):
        collect(records(tmp_path, body))
