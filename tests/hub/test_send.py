from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hub import send as sending
from hub.remote import mirror
from hub.send import RECORD, Sending, send
from run.errors import UserError
from tests.hub.fake_hub import Commit, FakeHub, File, Repo

HOW = Sending(message="a release", private=True, tag="release-1", collection="acme/panels")


@pytest.fixture
def repos(tmp_path: Path) -> Mapping[Path, str]:
    """Two folders and where they go."""
    for name in ("mini", "mini-onnx"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"---\nlicense: other\n---\n{name}", encoding="utf-8")
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    return {tmp_path / "mini": "acme/panels-mini", tmp_path / "mini-onnx": "acme/panels-mini-ONNX"}


@pytest.fixture(autouse=True)
def _client(local_hub: None) -> None:
    """Every client speaks to the server of the tests."""


def change(hub: FakeHub, repo: str, **files: bytes | None) -> None:
    """Somebody else's commit on the Hub; null deletes a file."""
    branch = hub.repos[repo].branches["main"]
    left = {name: file for name, file in branch[-1].files.items() if name not in files}
    new = {name: File(content, lfs=False) for name, content in files.items() if content is not None}
    branch.append(Commit(f"{len(branch):040x}", "by hand", {**left, **new}))


def test_send__files_tag_and_collection(fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path) -> None:
    assert all(one.changed for one in send(repos, HOW, tmp_path / RECORD))
    for repo in repos.values():
        (commit,) = fake_hub.commits(repo)
        assert fake_hub.repos[repo].tags == {"release-1": commit.oid}
        assert fake_hub.repos[repo].private
    assert fake_hub.collections == {"acme/panels-1": list(repos.values())}
    assert not any(one.changed for one in send(repos, HOW, tmp_path / RECORD))


def test_send__deletes_what_we_no_longer_have(fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path) -> None:
    send(repos, HOW, tmp_path / RECORD)
    (tmp_path / "mini" / "config.json").unlink()
    send(repos, HOW, tmp_path / RECORD)
    assert fake_hub.commits("acme/panels-mini")[-1].operations == ("deletedFile config.json",)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": b"edited on the site"}, "README.md: changed"),
        ({"notes.md": b"theirs"}, "notes.md: new"),
        ({"config.json": None}, "config.json: deleted"),
    ],
)
def test_send__a_repository_that_changed_since(
    fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path, files: dict[str, bytes | None], said: str
) -> None:
    send(repos, HOW, tmp_path / RECORD)
    for folder in repos:
        (folder / "config.json").write_text('{"new": 1}', encoding="utf-8")
    change(fake_hub, "acme/panels-mini-ONNX", **files)
    with pytest.raises(
        UserError, match=rf"panels-mini-ONNX was changed since this run was last pushed:\n  {said}"
    ) as error:
        send(repos, HOW, tmp_path / RECORD)
    assert "--pr" in str(error.value)
    assert len(fake_hub.commits("acme/panels-mini")) == 1, "nothing was sent to the other one either"
    # A pull request leaves the branch alone, and replacing is possible on request.
    send(repos, replace(HOW, pull_request=True), tmp_path / RECORD)
    assert fake_hub.commits("acme/panels-mini-ONNX")[-1].summary == "by hand"
    assert "refs/pr/1" in fake_hub.repos["acme/panels-mini-ONNX"].branches
    send(repos, replace(HOW, overwrite=True), tmp_path / RECORD)
    assert fake_hub.commits("acme/panels-mini-ONNX")[-1].summary == "a release"
    assert not any(one.changed for one in send(repos, HOW, tmp_path / RECORD))


def test_send__a_repository_of_somebody_elses_files(
    fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path
) -> None:
    fake_hub.repos["acme/panels-mini-ONNX"] = Repo.new("x", private=True)
    change(fake_hub, "acme/panels-mini-ONNX", **{"theirs.bin": b"1"})
    with pytest.raises(UserError, match=r"holds files that this run did not push:\n  theirs\.bin: new"):
        send(repos, HOW, tmp_path / RECORD)
    assert set(fake_hub.repos) == {"acme/panels-mini-ONNX"}, "no repository was made"


def test_send__a_repository_that_was_made_again_by_somebody_else(
    fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path
) -> None:
    send(repos, HOW, tmp_path / RECORD)
    fake_hub.repos["acme/panels-mini"] = Repo.new("another", private=True)
    change(fake_hub, "acme/panels-mini", **{"theirs.bin": b"1"})
    with pytest.raises(UserError, match=r"panels-mini was changed since .*:\n  theirs\.bin: new"):
        send(repos, HOW, tmp_path / RECORD)


def test_send__the_record_was_lost(fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path) -> None:
    send(repos, HOW, tmp_path / RECORD)
    (tmp_path / RECORD).write_text("[", encoding="utf-8")
    assert not any(one.changed for one in send(repos, HOW, tmp_path / RECORD)), "the very same files"
    (tmp_path / RECORD).unlink()
    (tmp_path / "mini" / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="holds files that this run did not push"):
        send(repos, HOW, tmp_path / RECORD)


def test_send__ended_between_two_repositories_and_again(
    fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = mirror, []

    def once(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return right(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sending, "mirror", once)
    with pytest.raises(KeyboardInterrupt):
        send(repos, HOW, tmp_path / RECORD)
    assert [one.changed for one in send(repos, HOW, tmp_path / RECORD)] == [False, True]
    assert all(len(fake_hub.commits(repo)) == 1 for repo in repos.values())


@pytest.mark.parametrize(
    ("orgs", "role", "owner", "said"),
    [
        ({}, "read", "acme", "the token 'tests' may only read"),
        ({"works": "read", "lab": "write"}, "write", "works", "may not write to works, but to acme, lab"),
        ({}, "write", "others", "may not write to others, but to acme"),
    ],
)
def test_send__no_right_to_write(
    fake_hub: FakeHub, repos: Mapping[Path, str], tmp_path: Path, orgs: dict[str, str], role: str, owner: str, said: str
) -> None:
    fake_hub.orgs, fake_hub.role = orgs, role
    there = {folder: repo.replace("acme", owner) for folder, repo in repos.items()}
    with pytest.raises(UserError, match=said):
        send(there, HOW, tmp_path / RECORD)
    assert fake_hub.repos == {}
