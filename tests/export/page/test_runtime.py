"""The runtime's files: pinned, checked, cached, and refused where they are others."""

import io
import re
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from export.page import runtime
from export.page.runtime import FILES, PUSHED, cache, find_runtime, is_whole, write_runtime
from export.page.write import FILES as PAGE
from run.errors import UserError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def packed(path: Path, contents: dict[str, bytes]) -> None:
    """A package as npm packs it, with more in it than is needed."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {**contents, "../../escaped": b"x", "other.wasm": b"x"}.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called npm that gives a package whose digests are those that are pinned; the file counts its runs."""
    contents = {name: name.encode() for name in FILES}
    package = tmp_path / "package.tgz"
    packed(package, contents)
    monkeypatch.setattr(runtime, "FILES", {name: runtime._digest(data, "sha384") for name, data in contents.items()})
    monkeypatch.setattr(runtime, "INTEGRITY", runtime._digest(package.read_bytes(), "sha512"))
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    copy = f"import shutil, sys; open({str(tmp_path / 'runs')!r}, 'a').write(str(sys.argv[1:]) + chr(10)); "
    copy += f"shutil.copyfile({str(package)!r}, 'x.tgz')"
    program.write_text(f"#!{sys.executable}\n{copy}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    return tmp_path / "runs"


def test_find_runtime__fetches_once(npm: Path, tmp_path: Path) -> None:
    first = find_runtime()
    assert first == find_runtime() == cache()
    assert first.is_relative_to(tmp_path / "cache")
    assert npm.read_text().splitlines() == [str(["pack", runtime.PACKAGE, "--loglevel=error", "--ignore-scripts"])]
    assert {path.name for path in first.iterdir()} == set(FILES)
    assert not (tmp_path / "escaped").exists()


def test_find_runtime__what_was_changed_is_fetched_again(npm: Path) -> None:
    folder = find_runtime()
    name = next(iter(FILES))
    (folder / name).write_bytes(b"something else")
    assert is_whole(find_runtime())
    assert len(npm.read_text().splitlines()) == 2


@pytest.mark.usefixtures("npm")
def test_find_runtime__another_package_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "package.tgz", dict.fromkeys(FILES, b"evil"))
    with pytest.raises(UserError, match="npm gave another"):
        find_runtime()
    assert not cache().exists()


@pytest.mark.usefixtures("npm")
def test_find_runtime__no_network(tmp_path: Path) -> None:
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho 'no route to it' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"npm cannot fetch it \(is there a network\?\): no route to it"):
        find_runtime()


def test_find_runtime__no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"npm is not installed: install Node\.js, or copy"):
        find_runtime()


def test_write_runtime__a_folder_that_has_it_needs_nothing(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mini-onnx"
    folder.mkdir()
    write_runtime(folder)
    assert sorted(path.name for path in (folder / "runtime").iterdir()) == list(PUSHED)
    assert "MIT License" in (folder / "runtime" / "LICENSE").read_text(encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    npm.with_name("bin").joinpath("npm").unlink()
    assert find_runtime(folder) == folder / "runtime"


def test_files__the_page_asks_for_the_same_bytes() -> None:
    page = (PAGE / "page" / "model.js").read_text(encoding="utf-8")
    assert set(re.findall(r"sha384-[\w+/=]+", page)) == set(FILES.values())
    assert all(name in page for name in FILES)
