import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.listing import collect
from data.readers import read
from data.readers.addresses import readings
from data.readers.images import ImageRoot
from data.readers.source import Source
from data.storage import fingerprint, read_bytes
from run.errors import UserError
from tests.support import TWO


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))


def located(root: Path, address: object, **settings: Any) -> str:
    found = ImageRoot(Source(SourceConfig(**settings), None, root), str(root)).locate(address, "row 3")
    return str(Path(found.uri).relative_to(root))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/%C3%A9cran%200.jpg", "upload/3/écran 0.jpg"),
        ("/data/upload/3/100%25%201.jpg", "upload/3/100% 1.jpg"),
        ("http://localhost:8080/data/upload/3/a.jpg", "upload/3/a.jpg"),
        ("/ls-path//data/upload/3/a.jpg", "upload/3/a.jpg"),
        ("https://labels.example/ls/data/local-files/?d=upload/3/a.jpg", "upload/3/a.jpg"),
        ("/data/local-files/%3Fd%3Dupload%2F3%2Fa.jpg", "upload/3/a.jpg"),
        ("/data/local-files/?d=in/a+b.jpg", "in/a+b.jpg"),
        ("/data/local-files/?d=in/c&d.jpg", "in/c&d.jpg"),
        ("/data/local-files/?d=in/e#f.jpg", "in/e#f.jpg"),
        ("/data/local-files/?d=in/plus+space.jpg", "in/plus space.jpg"),
        ("/data/local-files/?d=panels\\line0\\p0.jpg", "panels/line0/p0.jpg"),
        ("/data/local-files/?d=panels%5Cline0%5Cp0.jpg", "panels/line0/p0.jpg"),
        ("C:\\Users\\me\\panels\\line0\\p0.jpg", "panels/line0/p0.jpg"),
        ("\\\\server\\share\\panels\\line0\\p0.jpg", "panels/line0/p0.jpg"),
        ("panels//line0//p0.jpg", "panels/line0/p0.jpg"),
        ("/home/me/set/panels/line0/p0.jpg", "panels/line0/p0.jpg"),
        ("s3://bucket/set/panels/line0/p0.jpg", "panels/line0/p0.jpg"),
        ("https://images.example/panels/line0/p0.jpg?width=3", "panels/line0/p0.jpg"),
        ("in/back\\slash.jpg", "in/back\\slash.jpg"),
        ("in/a%20b.jpg", "in/a%20b.jpg"),
        ("in/id_7", "in/id_7.png"),
        (17, "17.JPG"),
        (" in/a+b.jpg ", "in/a+b.jpg"),
        (17.0, "17.JPG"),
        ("17.0", "17.JPG"),
        ("in/23", "in/0023.png"),
        (23, "0023.png"),
        ("23.0", "0023.png"),
        ("0", "000.jpg"),
        ("in/023", "in/023"),
        ("in/plus+space.jpg", "in/plus space.jpg"),
        ("in/c&amp;d.jpg", "in/c&d.jpg"),
        ("in/e%23f.jpg?v=2", "in/e#f.jpg"),
        ("panels/line0/p0.jpg?width=3", "panels/line0/p0.jpg"),
        ("file:///C:/sets/panels/line0/p0.jpg", "panels/line0/p0.jpg"),
    ],
)
def test_locate__what_a_person_would_take(tmp_path: Path, address: object, name: str) -> None:
    put(
        tmp_path,
        *("upload/3/écran 0.jpg", "upload/3/100% 1.jpg", "upload/3/a.jpg", "panels/line0/p0.jpg", "in/back\\slash.jpg"),
        *("in/a+b.jpg", "in/c&d.jpg", "in/e#f.jpg", "in/plus space.jpg", "in/a%20b.jpg", "in/a b.jpg"),
        *("in/id_7.png", "17.JPG", "in/0023.png", "0023.png", "000.jpg"),
    )
    assert located(tmp_path, address) == name


@pytest.mark.parametrize(("form", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_locate__accents_however_they_are_written(tmp_path: Path, form: Any, other: Any) -> None:
    name = "Größe/écran.jpg"
    put(tmp_path, unicodedata.normalize(form, name))
    assert located(tmp_path, unicodedata.normalize(other, name)) == unicodedata.normalize(form, name)


def test_locate__several_files_with_one_stem_are_a_question(tmp_path: Path) -> None:
    put(tmp_path, "id_7.png", "id_7.jpg")
    with pytest.raises(UserError, match=r"row 3: 'id_7' may be id_7\.jpg or id_7\.png: write the name with its ending"):
        located(tmp_path, "id_7")
    put(tmp_path, "07.png", "007.png")
    with pytest.raises(UserError, match=r"row 3: '7' may be 007\.png or 07\.png"):
        located(tmp_path, "7")


def test_locate__a_folder_that_is_there_is_not_dropped(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "train/2.jpg")
    assert located(tmp_path, "train/1.jpg") == "train/1.jpg"
    assert located(tmp_path, "old/1.jpg") == "1.jpg"


def test_locate__nothing_outside_is_taken(tmp_path: Path) -> None:
    put(tmp_path, "in/a.jpg", "out/secret.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "out" / "secret.jpg")
    for address in (
        *("../out/secret.jpg", "%2e%2e/out/secret.jpg", "..\\out\\secret.jpg", "old/link.jpg", "link", "x/../../out/a"),
        *("/data/local-files/?d=../out/secret.jpg", "/data/local-files/?d=%2e%2e/out/secret.jpg"),
        f"/data/local-files/?d={tmp_path}/out/secret.jpg",
    ):
        try:
            assert located(tmp_path / "in", address) not in ("link.jpg", "../out/secret.jpg")
        except UserError as error:
            assert "outside the image root" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("address", ["in/caf\udce9 %.jpg", "in/caf%E9%20%25.jpg", "in/café %.jpg"])
def test_locate__names_that_are_not_utf8(tmp_path: Path, address: str) -> None:
    put(tmp_path, "in/caf\udce9 %.jpg")
    uri = ImageRoot(Source(SourceConfig(), None, tmp_path), str(tmp_path)).locate(address, "row 3").uri
    assert uri == f"file://{tmp_path}/in/caf%E9%20%25.jpg"
    assert read_bytes(uri) == "in/caf\udce9 %.jpg".encode("utf-8", "surrogateescape")
    again = ImageRoot(Source(SourceConfig(), None, tmp_path), str(tmp_path)).locate(uri, "row 3").uri
    assert (again, fingerprint(again)) == (uri, fingerprint(uri))


def test_readings__decoded_once() -> None:
    assert readings("/data/upload/100%2525.jpg")[0] == "upload/100%25.jpg"


def listed_table(folder: Path, *names: str, **settings: Any) -> list[str]:
    (folder / "labels.csv").write_text("image,label\n" + "".join(f"{name},sound\n" for name in names))
    source = Source(SourceConfig(format="csv", path=str(folder / "labels.csv"), **settings), TWO, folder)
    return [str(Path(uri).relative_to(folder)) for uri in collect(read(source)).column("uri").to_pylist()]


def test_collect__two_addresses_that_come_to_one_file_are_a_question(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    assert listed_table(tmp_path, "old/1.jpg", "old/2.jpg") == ["1.jpg", "2.jpg"]
    with pytest.raises(UserError, match=r"(?s)1 address comes to a file that another one.*line 2 and .*line 3"):
        listed_table(tmp_path, "old/1.jpg", "new/1.jpg")


def test_collect__the_first_name_tried_and_the_nearest_that_is_there(tmp_path: Path) -> None:
    put(tmp_path, "in/Panel_1.jpg")
    with pytest.raises(UserError) as error:
        listed_table(tmp_path, "in/panel_2.jpg")
    text = str(error.value)
    assert text.startswith("1 image not found")
    assert f"labels.csv, line 2: {tmp_path}/in/panel_2.jpg; the nearest that is there: {tmp_path}/in/Panel_1" in text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("IN/a.jpg", "In/a.JPG"),  # the folder and the file
        ("/old/set/in/A.jpg", "In/a.JPG"),
        ("in/%C3%89cran.png", "In/écran.png"),
        ("in/b.jpg", "In/b.jpg"),  # as written, whatever is beside it
        ("In/b.JPG", "In/b.JPG"),
    ],
)
def test_locate__the_only_file_that_differs_in_case(tmp_path: Path, address: str, name: str) -> None:
    put(tmp_path, "In/a.JPG", "In/écran.png", "In/b.jpg", "In/b.JPG")
    assert located(tmp_path, address) == name


def test_locate__two_files_that_differ_in_case_are_not_guessed_at(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "b.JPG")
    assert located(tmp_path, "B.jpg") == "B.jpg"  # which is not there


def test_collect__other_cases_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a.JPG", "b.jpg", "c.Png")
    assert listed_table(tmp_path, "a.jpg", "b.jpg", "c.png") == ["a.JPG", "b.jpg", "c.Png"]
    said = " ".join(capsys.readouterr().err.split())
    assert f"2 images are named in another case than the file has: labels.csv, line 2, a.jpg, is {tmp_path}" in said
    with pytest.raises(UserError, match=r"(?s)1 address comes to a file that another one.*line 2 and .*line 3"):
        listed_table(tmp_path, "a.jpg", "a.JPG")


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("gone/Panel_1.jpg", "in/Panel_1.jpg"),
        ("in/no such thing.jpg", "the folder {root}/in"),
        ("in/deep/Panel_2.jpg", "in/Panel_1.jpg"),
    ],
)
def test_collect__what_is_there_is_said_whatever_is_missing(tmp_path: Path, address: str, near: str) -> None:
    put(tmp_path, "in/Panel_1.jpg", "in/@eaDir/Panel_2.jpg")
    with pytest.raises(UserError) as error:
        listed_table(tmp_path, address)
    if address.startswith("gone"):  # no folder is like it, so the root is all there is to say
        near = "the folder {root}"
    assert str(error.value).rpartition("the nearest that is there: ")[2].endswith(near.format(root=tmp_path))
