from pathlib import Path

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats.classes_csv import read
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")


def write(folder: Path, text: str) -> SourceConfig:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_classes.csv").write_text(text)
    return SourceConfig(format="classes_csv", path=str(folder))


def test_read__spaces_after_commas_and_another_order(tmp_path: Path) -> None:
    config = write(tmp_path, "filename, broken, sound\na.jpg, 1, 0\nb.jpg, 0, 1\n")
    expected = [(str(tmp_path / "a.jpg"), (0.0, 1.0), None), (str(tmp_path / "b.jpg"), (1.0, 0.0), None)]
    assert [(r.uri, r.target, r.split) for r in read(Source(config, TWO, tmp_path))] == expected
    single = SourceConfig(format="classes_csv", path=str(tmp_path / "_classes.csv"))
    assert [(r.uri, r.target, r.split) for r in read(Source(single, TWO, tmp_path))] == expected


def test_read__split_folders(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        write(tmp_path / folder, f"filename, sound, broken\n{folder}.jpg, 1, 1\n")
    found = {r.where: (r.target, r.split) for r in read(Source(SourceConfig(path=str(tmp_path)), MANY, tmp_path))}
    assert found == {
        f"{folder}/_classes.csv, line 2": ((1.0, 1.0), split)
        for folder, split in (("train", "train"), ("valid", "val"), ("test", "test"))
    }
    assert len(list(read(Source(SourceConfig(path=str(tmp_path)), None, tmp_path)))) == 3
    write(tmp_path, "filename, sound, broken\n")
    with pytest.raises(
        UserError, match=r"has _classes\.csv and test/_classes\.csv, train/_classes\.csv, valid/.*: set data\.path"
    ):
        list(read(Source(SourceConfig(path=str(tmp_path)), MANY, tmp_path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("filename, sound, broken\n", "no rows"),
        ("filename, sound, brokn\na.jpg, 1, 0\n", "header: label 'brokn'.*did you mean 'broken'"),
        ("filename, sound\na.jpg, 1\n", "no column 'broken'"),
        ("file, sound, broken\na.jpg, 1, 0\n", "label 'file' is not in labels.names"),
        ("filename, sound, broken\na.jpg, 1, 1\n", "line 2: flags .* have 2 ones"),
        ("filename, sound, broken\na.jpg, 0, 0\n", "line 2: flags .* have 0 ones"),
        ("filename, sound, broken\na.jpg, 0\n", "line 2: 2 cells, but the header has 3 columns"),
        ("filename, sound, broken\na.jpg, 0, x\n", "line 2: flags .* are not all numbers"),
    ],
)
def test_read__wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read(Source(write(tmp_path, text), TWO, tmp_path)))


def test_read__a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no _classes\.csv in"):
        list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))
