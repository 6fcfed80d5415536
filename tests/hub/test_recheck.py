"""``recheck`` of a repository: downloaded from the local server, and from strangers there."""

from pathlib import Path

import pytest

from run.folder import RunFolder
from tests.hub.fake_hub import Commit, FakeHub, File, Repo
from tests.hub.scripts import run_python

REPO = "acme/panels-mini-ONNX"
RECHECK = "import sys, pocketeva; sys.exit(pocketeva.main(['recheck', {place!r}]))"


@pytest.fixture
def published(fake_hub: FakeHub, finished_run: RunFolder) -> Repo:
    """The student's ONNX folder in a repository."""
    folder = finished_run.release / "mini-onnx"
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    files = {name: File(path.read_bytes(), lfs=name.endswith(".onnx")) for name, path in paths.items()}
    repo = fake_hub.repos[REPO] = Repo.new(REPO, private=True)
    add(repo, files)
    return repo


def add(repo: Repo, files: dict[str, File]) -> None:
    """A commit with these files beside those that are there."""
    commits = repo.branches["main"]
    commits.append(Commit(f"{len(commits):040x}", "more", {**commits[-1].files, **files}))


def test_recheck__a_repository(fake_hub: FakeHub, published: Repo, tmp_path: Path) -> None:
    result = run_python(RECHECK.format(place=REPO), fake_hub, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "quick: PASS" in result.stdout
    assert "WRONG" not in result.stdout
    # Somebody adds a pickle, and exchanges the weights.
    weights = published.branches["main"][-1].files["onnx/model.onnx"]
    add(published, {"model.pkl": File(b"pickle", lfs=False), "onnx/model.onnx": File(weights.content + b" ", lfs=True)})
    result = run_python(RECHECK.format(place=REPO), fake_hub, tmp_path)
    assert result.returncode == 3
    assert "mini-onnx/model.pkl is not in the certificate" in result.stdout
    assert "mini-onnx/onnx/model.onnx has changed since it was judged" in result.stdout
    # The commit before is still what it was.
    pinned = run_python(RECHECK.format(place=f"{REPO}@{1:040x}"), fake_hub, tmp_path)
    assert pinned.returncode == 0, pinned.stdout + pinned.stderr


NOWHERE = {
    "acme/nothing": "acme/nothing is no folder here, and cannot be read on the Hub",
    "acme/other": "holds no certificate.json",
    "a/b/c": "a/b/c is neither a folder nor org/name on the Hub",
    "../acme": "../acme is neither a folder nor org/name on the Hub",
}


def test_recheck__no_release_there(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.repos["acme/other"] = Repo.new("acme/other", private=False)
    code = f"import pocketeva; print([pocketeva.main(['recheck', place]) for place in {list(NOWHERE)}])"
    result = run_python(code, fake_hub, tmp_path / "work")
    assert result.stdout == f"{[2] * len(NOWHERE)}\n", result.stderr
    assert result.stderr.count("pocketeva recheck: ") == len(NOWHERE)
    assert all(said in result.stderr for said in NOWHERE.values())
    assert "Traceback" not in result.stderr
