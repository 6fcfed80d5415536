"""Docs: what they point to exists, every page is in the index, and the Python of `apps.md` runs."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support import REPOSITORY, picture

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages__link_to_what_exists(page: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages__name_pages_that_exist(page: Path) -> None:
    names = re.findall(r"`(?:docs/)?([a-z]+\.md)`", page.read_text(encoding="utf-8"))
    missing = {name for name in names if not (REPOSITORY / "docs" / name).is_file()}
    assert page.name == "log.md" or not missing


def test_index__has_every_page() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"index.md"}
    assert pages == {link for link in _LINK.findall(index) if link.endswith(".md")}


def test_apps__python_runs(finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs" / "apps.md").read_text(encoding="utf-8"), re.DOTALL
    )
    ours, plain = (block.replace("outputs/demo/release/mobilenetv4-small-050-onnx/", "") for block in blocks)
    monkeypatch.chdir(finished_root / "outputs" / "quick" / "release" / "mini-onnx")
    image = picture(64, 48)
    image.save(tmp_path / "photograph.png")
    found: dict[str, object] = {"picture": image}
    exec(ours.replace("photograph.jpg", str(tmp_path / "photograph.png")), found)
    exec(plain, found)
    assert np.asarray(found["probabilities"]).sum() == pytest.approx(1, abs=1e-5)
