import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.changes import Rows
from data.listing import collect
from data.readers.record import Record
from run.errors import UserError


def record(path: Path, line: int, **given: object) -> Record:
    return Record(uri=str(path), where=f"labels.csv, line {line}", **{"target": (1.0, 0.0), **given})  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("b", "é", "a", "Z")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_collect__ordered_by_uri_from_a_stream(files: list[Path]) -> None:
    def stream() -> Iterator[Record]:
        for line, path in enumerate(files, 2):
            yield record(path, line)

    table = collect(stream())
    assert [Path(uri).name for uri in table.column("uri").to_pylist()] == ["Z", "a", "b", "é"]
    assert table.column("where").to_pylist()[2] == "labels.csv, line 2"


def test_collect__absent_files_are_all_counted_and_named_by_their_place(files: list[Path]) -> None:
    records = [record(path, line) for line, path in enumerate(files, 2)]
    records += [record(files[0].parent / f"gone{line}", line) for line in range(6, 36)]
    with pytest.raises(UserError) as error:
        collect(records)
    message = str(error.value)
    assert message.startswith("30 images not found; put them there, or set data.image_root:")
    assert f"labels.csv, line 6: {files[0].parent}/gone6" in message
    assert "… and 20 more" in message


def test_collect__the_same_row_twice_is_one_row(files: list[Path]) -> None:
    table = collect([record(files[0], 2), record(files[1], 3), record(files[0], 4)])
    assert len(table) == 2


@pytest.mark.parametrize("other", [{"target": (0.0, 1.0)}, {"split": "test"}, {"group": "x"}, {"votes": (2.0, 0.0)}])
def test_collect__two_rows_that_differ(files: list[Path], other: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"(?s)1 image is listed twice.*line 2 and labels.csv, line 9: .*/b"):
        collect([record(files[0], 2), record(files[1], 3), record(files[0], 9, **other)])


def test_rows_of_listing__changes_with_labels_and_files_but_not_with_places(files: list[Path]) -> None:
    base = Rows.of_listing(collect([record(path, 1) for path in files])).digest
    assert Rows.of_listing(collect([record(path, 7) for path in reversed(files)])).digest == base
    assert Rows.of_listing(collect([record(path, 1, split="val") for path in files])).digest != base
    assert Rows.of_listing(collect([record(path, 1, target=(0.5, 0.5)) for path in files])).digest != base
    assert Rows.of_listing(collect([record(path, 1) for path in files[1:]])).digest != base
    os.utime(files[0], ns=(0, 0))
    assert Rows.of_listing(collect([record(path, 1) for path in files])).digest != base
