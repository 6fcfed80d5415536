"""The page's files in a release."""

import json
from pathlib import Path

from export.page.write import DIFFERENCE, FLOAT_RGB, Page, PageSettings, page_files
from export.runtime import OnnxClassifier
from run.files import file_digest
from tests.export.page.conftest import HOSTILE
from tests.support import files_below


def test_write__names_are_in_json_alone(paged: Path) -> None:
    html = (paged / "index.html").read_text(encoding="utf-8")
    assert "</title>" in json.loads((paged / PageSettings.FILE).read_text(encoding="utf-8"))["name"]
    assert html.count("</title>") == 1
    assert not any(name in html for name in HOSTILE.names[1:])


def test_write__the_model_that_is_run(paged: Path) -> None:
    settings = PageSettings.read(paged)
    assert (settings.model, settings.rule) == ("rgb.onnx", "rgb.onnx")
    assert settings.digest == file_digest(paged / "rgb.onnx")
    index = json.loads((paged / "golden" / "index.json").read_text(encoding="utf-8"))
    assert set(settings.expected) == {entry["name"] for entry in index["images"]}
    for entry in index["images"]:
        expected = settings.expected[entry["name"]]
        assert list(expected.probabilities) == entry["probabilities"]
        assert list(expected.decision) == entry["decision"]


def test_keep_float__is_run_in_place_of_an_int8_body(paged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mini-onnx"
    for name, data in files_below(paged).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    page = Page(name="x", blur=False)
    page.keep_float(paged / "rgb.onnx", folder)
    (folder / "rgb.onnx").write_bytes(b"INT8")
    page.write(folder)
    settings = PageSettings.read(folder)
    assert (settings.model, settings.rule) == (FLOAT_RGB.as_posix(), "onnx/model.onnx")
    assert settings.digest == file_digest(paged / "rgb.onnx")
    kept = OnnxClassifier(folder / "onnx" / "model.onnx")
    assert kept.labels == HOSTILE
    assert DIFFERENCE == settings.difference == 1e-3


def test_write__same_bytes_twice(paged: Path, tmp_path: Path) -> None:
    before = files_below(paged)
    Page(name="cells: mini </title>", blur=True).write(paged)
    assert files_below(paged) == before
    assert sum(len(before[str(path)]) for path in page_files()) < 60_000, "small enough to read"
    assert not any(str(tmp_path.parent).encode() in data for data in before.values())
