import csv
import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pocketeva
from data.loaders import load
from export.rgb import write_rgb
from export.runtime import OnnxClassifier
from tests import support
from tests.export.conftest import Exported

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def release(exported: Exported, tmp_path: Path) -> Path:
    folder = tmp_path / "mini-onnx"
    (folder / "onnx").mkdir(parents=True)
    shutil.copyfile(exported[1], folder / "onnx" / "model.onnx")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    (folder / "deep").mkdir(parents=True)
    sources = [path for path, _ in support.elpv_rows()[:3]]
    for name, source in zip(("b.png", "a.PNG", "deep/c.png"), sources, strict=True):
        shutil.copyfile(source, folder / name)
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


def predict(*arguments: Path | str) -> int:
    return pocketeva.main(["predict", *map(str, arguments)])


def test_predict__json_lines(release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(release, photographs, photographs / "b.png", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["a.PNG", "b.png", "c.png", "b.png"]
    model = OnnxClassifier(release / "onnx" / "model.onnx")
    for row in rows:
        expected = model.probabilities([load(row["path"])])[0]
        assert list(row["scores"]) == list(support.FOUR.names)
        np.testing.assert_allclose(list(row["scores"].values()), expected, atol=1e-5)
        assert row["label"] == support.FOUR.names[int(expected.argmax())]
        assert row["ms"] > 0


def test_predict__table(release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(release / "onnx" / "model.onnx", photographs / "b.png") == 0
    printed = capsys.readouterr().out
    score = OnnxClassifier(release / "onnx" / "model.onnx").probabilities([load(str(photographs / "b.png"))])[0].max()
    (line,) = (line for line in printed.splitlines() if "b.png" in line)
    assert line.split()[2] == f"{score:.3f}"


def test_predict__rows_are_printed_as_they_come(
    release: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def names() -> Iterator[bytes]:
        for name in ("a.PNG", "b.png", "nothing.png"):
            printed.append(capsys.readouterr().out)
            yield f"{photographs / name}\n".encode()

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=names()))
    assert predict(release, "-", "--csv") == 2
    last = capsys.readouterr()
    assert [text.count("\n") for text in (*printed, last.out)] == [1, 1, 1, 1]
    assert "nothing.png: No such file or directory" in last.err


def test_predict__top(release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(release, photographs / "b.png", "--json", "--top", "2") == 0
    best = json.loads(capsys.readouterr().out)
    assert next(iter(best["scores"])) == best["label"]
    assert len(best["scores"]) == 2
    assert predict(release, photographs / "b.png", "--csv", "--top", "2") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    found = {row[f"label_{rank}"]: float(row[f"score_{rank}"]) for rank in (1, 2)}
    assert found == best["scores"]
    assert predict(release, photographs / "b.png", "--top", "2") == 0
    assert f"({list(best['scores'])[1]})" in capsys.readouterr().out


def test_predict__several_processes_give_the_same_in_the_same_order(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for count in ("1", "2"):
        assert predict(release, photographs, photographs / "b.png", "--json", "--processes", count) == 0
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        printed.append([{key: value for key, value in row.items() if key != "ms"} for row in rows])
    assert printed[0] == printed[1]
    assert len(printed[0]) == 4


def test_predict__counts_at_the_end(release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(release, photographs, "--json") == 0
    printed = capsys.readouterr()
    said = printed.err.splitlines()[-1]
    assert said.startswith("3 images in ")
    counts = Counter(json.loads(line)["label"] for line in printed.out.splitlines())
    assert all(f"{count} {label}" in said for label, count in counts.items())


@pytest.mark.parametrize("flags", [[], ["--json"], ["--csv"]])
def test_predict__an_unreadable_image(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    bad = photographs / "aa.jpg"
    bad.write_bytes(b"\xff\xd8 not a photograph")
    assert predict(release, photographs, *flags) == 2
    printed = capsys.readouterr()
    assert "1 of 4 images cannot be read" in printed.err
    assert "aa.jpg: " in printed.err
    assert "Traceback" not in printed.err
    if flags == ["--json"]:
        rows = {Path(row["path"]).name: row for row in map(json.loads, printed.out.splitlines())}
        assert set(rows) == {"a.PNG", "aa.jpg", "b.png", "c.png"}
        assert "error" in rows["aa.jpg"]
        assert all("label" in row for name, row in rows.items() if name != "aa.jpg")
    elif flags == ["--csv"]:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(printed.out.splitlines())}
        assert [name for name, row in rows.items() if row["error"]] == ["aa.jpg"]
        assert all(float(row["score_sound"]) <= 1 for name, row in rows.items() if name != "aa.jpg")
    else:
        assert printed.out.count(".png") + printed.out.count(".PNG") == 3
    assert "4 images in " in printed.err


def test_predict__walks_as_every_reader_does(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (photographs / "b.png").read_bytes()
    for name in ("without", "x.jfif", "caf\udce9.png", "@eaDir/b.png", "._b.png"):
        (photographs / name).parent.mkdir(exist_ok=True)
        (photographs / name).write_bytes(data)
    monkeypatch.setattr("data.walk.reads_heic", lambda: False)
    (photographs / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(9))
    assert predict(release, photographs, "--json") == 0
    printed = capsys.readouterr()
    names = {Path(json.loads(line)["path"]).name for line in printed.out.splitlines()}
    assert names == {"a.PNG", "b.png", "c.png", "without", "x.jfif", "caf\\xe9.png"}
    assert "2 files that other programs made left alone: 1 ._* and 1 in @eaDir" in printed.err
    assert "1 file in folders is in a format that is not read, and left out: 1 .HEIC" in printed.err


def test_predict__a_pipe_is_refused_and_the_others_are_answered(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(photographs / "pipe.png")
    assert predict(release, photographs, "--json") == 2
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert "pipe.png: this is a named pipe, not a regular file" in printed.err


@pytest.mark.parametrize(
    ("release_name", "image", "message"),
    [
        ("nothing-onnx", "b.png", "nothing-onnx does not exist: give a release folder, or a model file"),
        ("nothing.onnx", "b.png", "nothing.onnx does not exist"),
        ("mini-onnx", "nothing.png", "nothing.png is neither a file nor a folder"),
        ("mini-onnx", "empty", "no image files in"),
    ],
)
def test_predict__not_there(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str], release_name: str, image: str, message: str
) -> None:
    (photographs / "empty").mkdir()
    assert predict(release.parent / release_name, photographs / image) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("pocketeva predict: ")
    assert message in printed.err
    assert printed.out == ""


def test_predict__unknown_option(release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(release, photographs, "--treshold", "3") == 2
    assert "pocketeva predict: there is no --treshold" in capsys.readouterr().err


def test_predict__rgb_file_gives_the_same_scores(
    release: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rgb(release / "onnx" / "model.onnx", release / "rgb.onnx")
    scores = []
    for file in (release, release / "rgb.onnx"):
        assert predict(file, photographs / "b.png", "--json") == 0
        scores.append(list(json.loads(capsys.readouterr().out)["scores"].values()))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
