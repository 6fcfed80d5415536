"""The page in headless Chromium; one browser for all tests."""

import base64
import csv
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data.decode import decode
from export.golden.images import JPEG, JPEG_SUBSAMPLED, ROUNDING
from export.golden.kit import GoldenIndex
from export.page.runtime import find_runtime
from export.page.serve import page_server
from export.runtime import RgbClassifier
from run.errors import UserError
from run.text import defused
from tests.export.page.chromium import Page, browser, executable
from tests.export.page.conftest import HOSTILE
from tests.support import encoded, picture, pixels

pytestmark = pytest.mark.slow

APPS = Path(__file__).parents[3] / "docs" / "apps.md"
RESULTS = "document.querySelectorAll('#results li').length"
CSV = """(async () => {
  const saved = new Promise((resolve) => {
    const make = URL.createObjectURL;
    URL.createObjectURL = (blob) => { URL.createObjectURL = make; blob.text().then(resolve); return make(blob); };
  });
  document.getElementById("csv").click();
  return await saved;
})()"""


@pytest.fixture(scope="module")
def page(paged: Path) -> Iterator[Page]:
    """A tab with the page open, and its model loaded."""
    program = executable()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    try:
        find_runtime()
    except UserError as error:
        pytest.skip(str(error))
    with page_server(paged) as server, browser(program) as tab:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab.look()
        tab.open(f"http://127.0.0.1:{server.server_port}/")
        yield tab
        server.shutdown()


def choose(page: Page, value: str) -> None:
    """Take one of the choices of what decides."""
    page.run(
        f"{{ const choice = document.getElementById('choice'); choice.value = '{value}'; "
        "choice.dispatchEvent(new Event('change')); }"
    )


@pytest.fixture
def fresh(page: Page) -> Page:
    """The same without results."""
    page.run("document.getElementById('clear').click(), document.getElementById('tab-try').click()")
    choose(page, "0")
    return page


def rows(page: Page) -> list[dict[str, str]]:
    """The CSV that the page saves."""
    return list(csv.DictReader(io.StringIO(str(page.run(CSV)).removeprefix("\ufeff"))))


def test_page__starts_without_complaint_and_asks_nobody_else(page: Page) -> None:
    assert page.text("#status") == ""
    assert page.complaints() == []
    address = str(page.run("location.href"))
    assert len(page.addresses()) > 8
    assert all(found.startswith((address, "data:", "blob:" + address)) for found in page.addresses())


def test_page__gives_what_python_gives(fresh: Page, paged: Path, tmp_path: Path) -> None:
    paths = sorted((paged / "golden").glob("*.png"))
    other = tmp_path / "photo.webp"
    other.write_bytes(encoded(picture(300, 200), "WEBP", lossless=True))
    fresh.choose("#files", [*paths, other])
    fresh.wait(f"{RESULTS} == {len(paths) + 1}")
    model = RgbClassifier(paged / "rgb.onnx", threads=1)
    differences = []
    for row, path in zip(rows(fresh), [*paths, other], strict=True):
        outputs = model.outputs(decode(path.read_bytes()))
        assert row["path"] == path.name
        assert row["label"] == defused(model.rule.names(outputs["decision"])[0])
        found = [float(value) for name, value in row.items() if name.lstrip("'").startswith("score_")]
        differences.append(np.abs(np.array(found) - outputs["probabilities"]).max())
    assert max(differences) <= 1e-3
    assert len({row["label"] for row in rows(fresh)}) > 1


def decoded(page: Page, data: bytes) -> NDArray[np.int64]:
    """What the page makes of a file [height, width, 3]."""
    width, height, text = page.run(
        f"""(async () => {{
          const {{ decode }} = await import("./page/decode.js");
          const bytes = Uint8Array.from(atob("{base64.b64encode(data).decode()}"), (one) => one.charCodeAt(0));
          const {{ width, height, rgb }} = await decode(new File([bytes], "a"));
          return [width, height, btoa(String.fromCharCode(...rgb))];
        }})()"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 3).astype(np.int64)


def files() -> Iterator[tuple[str, bytes, int]]:
    """Image files, and the levels of 255 that a browser may be off."""
    image = picture(37, 23)
    clear = image.copy()
    clear.putalpha(Image.fromarray(np.arange(37 * 23, dtype=np.uint32).astype(np.uint8).reshape(23, 37)))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"WebP turned by {orientation}", encoded(image, "WEBP", lossless=True, exif=exif), 0
        yield f"PNG turned by {orientation}", encoded(image, "PNG", exif=exif), 0
        yield f"JPEG turned by {orientation}", encoded(image, "JPEG", exif=exif, subsampling=0), JPEG
    yield "JPEG with halved colors", encoded(image, "JPEG", subsampling=2, progressive=True), JPEG_SUBSAMPLED
    yield "CMYK", encoded(image.convert("CMYK"), "JPEG"), JPEG
    yield "PNG over white", encoded(clear, "PNG"), ROUNDING
    yield "WebP over white", encoded(clear, "WEBP", lossless=True, exact=True), ROUNDING
    yield "GIF", encoded(image.convert("P"), "GIF"), 0
    yield "BMP", encoded(image, "BMP"), 0
    yield "one bit", encoded(image.convert("1"), "PNG"), 0


def test_page__decodes_as_python_does(fresh: Page) -> None:
    for name, data, levels in files():
        expected = pixels(decode(data))
        found = decoded(fresh, data)
        assert found.shape == expected.shape, name
        assert np.abs(found - expected).max() <= levels, name


def test_page__golden_kit(fresh: Page, paged: Path) -> None:
    fresh.run("document.getElementById('tab-check').click(), document.getElementById('run-check').click()")
    fresh.wait("document.getElementById('verdict').className")
    count = len(GoldenIndex.read(paged).images)
    assert fresh.text("#verdict") == f"All good: this browser gives what training gave on all {count} images."
    assert "this browser's are up to" in fresh.text("#jpeg")


def test_page__golden_kit_says_what_differs(fresh: Page, paged: Path) -> None:
    kept = fresh.run(
        """(async () => {
          const { checks, verdict } = await import("./page/golden.js");
          const settings = await (await fetch("page/settings.json")).json();
          const { open } = await import("./page/model.js");
          const model = await open(settings.model);
          settings.expected.exif.probabilities[0] += 0.002;
          const rows = [];
          for await (const row of checks(model, settings)) rows.push(row);
          settings.digest = "another";
          const other = await checks(model, settings).next().catch((error) => error.message);
          return [verdict(rows), other];
        })()"""
    )
    assert kept[0].startswith("1 of 13 images differ. The first to look at: running the model (exif).")
    assert kept[1] == "rgb.onnx has changed since the page was made"


def test_apps__the_javascript_gives_what_training_gave(fresh: Page, paged: Path) -> None:
    (code,) = re.findall(r"```js\n(.*?)```", APPS.read_text(encoding="utf-8"), re.DOTALL)
    index = GoldenIndex.read(paged)
    # The page lies where an app's own page would: its policy, and its runtime.
    found = fresh.run(
        f"""(async () => {{
          const ort = await import("./runtime/ort.wasm.bundle.min.mjs");
          ort.env.wasm.numThreads = 1;
          {code}
          const found = {{}};
          for (const name of {json.dumps([entry.file for entry in index.images])}) {{
            const file = await (await fetch(`golden/${{name}}`)).blob();
            found[name] = Array.from((await classify(file)).probabilities);
          }}
          return found;
        }})()"""
    )
    for entry in index.images:
        # As in the kit for other decoders: 16 bits are shortened otherwise, and JPEG is decoded otherwise.
        allowed = 1e-3 if entry.file.endswith(".png") and entry.name != "gray16" else 0.02
        assert np.abs(np.array(found[entry.file]) - entry.probabilities).max() <= allowed, entry.name


def test_page__names_of_others_are_text(fresh: Page, tmp_path: Path) -> None:
    name = "<img src=x onerror=document.title='hit'>.png"
    (tmp_path / name).write_bytes(encoded(picture(), "PNG"))
    fresh.choose("#files", [tmp_path / name])
    fresh.wait(f"{RESULTS} == 1")
    assert fresh.text(".file") == name
    for label in HOSTILE.names:
        assert label.replace("\u202e", "\\u202e") in fresh.text("#results")
    assert fresh.run("document.querySelectorAll('img').length") == 0
    assert fresh.run("document.title") == "cells: mini </title>"


def test_page__csv_holds_no_formulas(fresh: Page, tmp_path: Path) -> None:
    (tmp_path / '=1+1,"x".png').write_bytes(encoded(picture(), "PNG"))
    (tmp_path / "@cut.jpg").write_bytes(encoded(picture(), "JPEG")[:-2])
    fresh.choose("#files", [tmp_path / '=1+1,"x".png', tmp_path / "@cut.jpg"])
    fresh.wait(f"{RESULTS} == 2")
    choose(fresh, "1")
    good, bad = rows(fresh)
    assert good["path"] == '\'=1+1,"x".png'
    assert "score_=cmd|'/c calc'!A0" in good
    assert good["flagged: =cmd|'/c calc'!A0 or worse from 0.400"] in ("yes", "no")
    assert (bad["path"], bad["error"]) == ("'@cut.jpg", "cut short: the end-of-image marker is missing")
    assert all(cell[0] not in "=+-@" for row in rows(fresh) for cell in (*row, *row.values()) if cell)


def test_page__operating_points(fresh: Page, paged: Path) -> None:
    paths = sorted((paged / "golden").glob("*.rgb.png"))
    fresh.choose("#files", paths)
    fresh.wait(f"{RESULTS} == {len(paths)}")
    assert "recall at least 90 %" not in fresh.text("#choice-about")
    choose(fresh, "1")
    assert "recall at least 90 %; 95 % sure" in fresh.text("#choice-about")
    model = RgbClassifier(paged / "rgb.onnx", threads=1)
    flags = [bool(model.outputs(decode(path.read_bytes()))["scores"][2] >= np.float32(0.4)) for path in paths]
    found = [row["flagged: =cmd|'/c calc'!A0 or worse from 0.400"] == "yes" for row in rows(fresh)]
    assert found == flags
    assert 0 < sum(flags) < len(flags)
    choose(fresh, "own")
    assert not fresh.run("document.getElementById('own').hidden")


def test_page__blurred_until_clicked(fresh: Page, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(), "PNG"))
    fresh.choose("#files", [tmp_path / "a.png"])
    fresh.wait(f"{RESULTS} == 1")
    blurred = "getComputedStyle(document.querySelector('.picture canvas')).filter != 'none'"
    assert fresh.run(blurred)
    fresh.run("document.querySelector('.picture').focus()")
    fresh.press(" ")
    assert not fresh.run(blurred)


def test_page__keyboard(fresh: Page) -> None:
    fresh.run("document.getElementById('tab-try').focus()")
    fresh.press("ArrowRight")
    assert fresh.run("document.activeElement.id") == "tab-check"
    assert not fresh.run("document.getElementById('check').hidden")
    fresh.press("Tab")
    assert fresh.run("document.activeElement.id") == "run-check"
    fresh.press("Enter")
    fresh.wait("document.getElementById('verdict').className == 'good'")


def test_page__fits_a_phone(fresh: Page, paged: Path) -> None:
    fresh.look(width=390, height=844)
    fresh.choose("#files", sorted((paged / "golden").glob("*.rgb.png"))[:2])
    fresh.wait(f"{RESULTS} == 2")
    for tab in ("try", "check"):
        fresh.run(f"document.getElementById('tab-{tab}').click()")
        assert fresh.run("document.documentElement.scrollWidth") == 390
    fresh.look()


def test_page__dropped_pasted_and_from_the_camera(fresh: Page) -> None:
    transfer = """(async () => {
      const blob = await (await fetch("golden/gradient.png")).blob();
      const transfer = new DataTransfer();
      transfer.items.add(new File([blob], "given.png", { type: "image/png" }));
      return transfer;
    })()"""
    fresh.run(f"{transfer}.then((dataTransfer) => document.dispatchEvent(new DragEvent('drop', {{ dataTransfer }})))")
    fresh.wait(f"{RESULTS} == 1")
    fresh.run(
        f"{transfer}.then((clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData }})))"
    )
    fresh.wait(f"{RESULTS} == 2")
    fresh.run("document.getElementById('camera').click()")
    fresh.wait("!document.getElementById('viewfinder').hidden")
    fresh.run("document.getElementById('shoot').click()")
    fresh.wait(f"{RESULTS} == 3")
    fresh.run("document.getElementById('live').click()")
    fresh.wait("document.querySelector('#live-answer .chip')")
    fresh.run("document.getElementById('camera-off').click()")
    assert [row["path"] for row in rows(fresh)] == ["given.png", "given.png", "camera 1"]


def test_page__opened_as_a_file(page: Page, paged: Path) -> None:
    page.open((paged / "index.html").as_uri())
    assert "Run `pocketeva page` with the folder that it lies in" in page.text("#status")


def test_page__without_its_runtime(page: Page, paged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mini-onnx"
    shutil.copytree(paged, folder)
    changed = tmp_path / "runtime"
    shutil.copytree(find_runtime(), changed)
    with (changed / "ort.wasm.bundle.min.mjs").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.page.serve.find_runtime", lambda _: changed)
        server = page_server(folder)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.open(f"http://127.0.0.1:{server.server_port}/")
        assert "runtime/ is missing or changed" in page.text("#status")
        server.shutdown()
    assert json.dumps(page.complaints()).count("integrity") >= 1
