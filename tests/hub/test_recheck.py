"""``recheck`` of a repository: downloaded from the local server, and from strangers there."""

import pytest

import pocketeva
from run.folder import RunFolder
from tests.hub.fake_hub import Commit, FakeHub, File, Repo

pytestmark = pytest.mark.usefixtures("local_hub")

REPO = "acme/panels-mini-ONNX"


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


def test_recheck__a_repository(published: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    assert pocketeva.main(["recheck", REPO]) == pocketeva.DONE
    said = capsys.readouterr().out
    assert "quick: PASS" in said
    assert "WRONG" not in said
    # Somebody adds a pickle, and exchanges the weights.
    weights = published.branches["main"][-1].files["onnx/model.onnx"]
    add(published, {"model.pkl": File(b"pickle", lfs=False), "onnx/model.onnx": File(weights.content + b" ", lfs=True)})
    assert pocketeva.main(["recheck", REPO]) == 3
    said = capsys.readouterr().out
    assert "mini-onnx/model.pkl is not in the certificate" in said
    assert "mini-onnx/onnx/model.onnx has changed since it was judged" in said
    # The commit before is still what it was.
    assert pocketeva.main(["recheck", f"{REPO}@{1:040x}"]) == pocketeva.DONE


NOWHERE = {
    "acme/nothing": "acme/nothing is no folder here, and cannot be read on the Hub",
    "acme/other": "holds no certificate.json",
    "a/b/c": "a/b/c is neither a folder nor org/name on the Hub",
    "../acme": "../acme is neither a folder nor org/name on the Hub",
}


def test_recheck__no_release_there(fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    fake_hub.repos["acme/other"] = Repo.new("acme/other", private=False)
    for place, said in NOWHERE.items():
        assert pocketeva.main(["recheck", place]) == pocketeva.WRONG_INPUT
        err = capsys.readouterr().err
        assert err.count("pocketeva recheck: ") == 1
        assert said in err
        assert "Traceback" not in err
