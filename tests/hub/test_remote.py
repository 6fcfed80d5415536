from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

from hub.remote import Pushed, files_of, holds, hub_errors, look, make, mirror
from run.errors import UserError
from tests.hub.fake_hub import TOKEN, FakeHub, Repo

REPO = "acme/panels"


@pytest.fixture
def api(fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """A client of the fake hub, in this process."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return HfApi(endpoint=fake_hub.url, token=TOKEN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files; the Hub keeps one of them apart, as LFS."""
    root = tmp_path / "mini"
    (root / "onnx").mkdir(parents=True)
    (root / "README.md").write_bytes(b"---\nlicense: other\n---\n")
    (root / "config.json").write_bytes(b"{}")
    (root / "onnx" / "model.onnx").write_bytes(b"weights")
    return root


def contents(hub: FakeHub, branch: str = "main") -> dict[str, bytes]:
    return {path: file.content for path, file in hub.repos[REPO].branches[branch][-1].files.items()}


@pytest.mark.parametrize("private", [True, False])
def test_make__makes_it_once(fake_hub: FakeHub, api: HfApi, private: bool) -> None:
    make(api, REPO, private=private)
    made = fake_hub.repos[REPO]
    assert made.private == private
    make(api, REPO, private=private)
    assert fake_hub.repos == {REPO: made}
    assert fake_hub.commits(REPO) == []


@pytest.mark.parametrize(("is_private", "asked"), [(True, False), (False, False)])
def test_make__what_is_there_is_taken_as_it_is(fake_hub: FakeHub, api: HfApi, is_private: bool, asked: bool) -> None:
    fake_hub.repos[REPO] = Repo.new(REPO, private=is_private)
    make(api, REPO, private=asked)
    assert fake_hub.repos[REPO].private == is_private


def test_make__a_public_one_is_refused_where_a_private_one_is_wanted(fake_hub: FakeHub, api: HfApi) -> None:
    fake_hub.repos[REPO] = Repo.new(REPO, private=False)
    with pytest.raises(UserError, match=r"acme/panels is public on the Hub and hub\.private is true: make it private"):
        make(api, REPO, private=True)


def test_files_of__sorted_and_without_leftovers(folder: Path) -> None:
    (folder / ".partial-config.json").write_bytes(b"half")
    (folder / ".partial-onnx" / "deep").mkdir(parents=True)
    (folder / ".partial-onnx" / "deep" / "model.onnx").write_bytes(b"half")
    (folder / ".gitignore").write_bytes(b"")
    (folder / "empty").mkdir()
    found = [path.relative_to(folder).as_posix() for path in files_of(folder)]
    assert found == [".gitignore", "README.md", "config.json", "onnx/model.onnx"]


def test_files_of__only_names_inside_the_folder_count(tmp_path: Path, folder: Path) -> None:
    inside = folder.rename(tmp_path / ".partial-mini")
    assert len(files_of(inside)) == 3


def test_mirror__one_commit_with_every_file(fake_hub: FakeHub, api: HfApi, folder: Path) -> None:
    make(api, REPO, private=True)
    first = fake_hub.repos[REPO].branches["main"][-1]
    pushed = mirror(api, look(api, REPO), folder, "a release")
    (commit,) = fake_hub.commits(REPO)
    assert commit.summary == "a release"
    assert commit.parent_asked == first.oid
    assert pushed == Pushed("mini", REPO, f"{fake_hub.url}/{REPO}/commit/{commit.oid}", changed=True, commit=commit.oid)
    sent = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_of(folder)}
    kept = {".gitattributes": first.files[".gitattributes"].content}
    assert contents(fake_hub) == {**sent, **kept}
    assert commit.files["onnx/model.onnx"].lfs


def test_mirror__what_is_gone_is_deleted_and_what_is_equal_is_not_sent(
    fake_hub: FakeHub, api: HfApi, folder: Path
) -> None:
    make(api, REPO, private=True)
    mirror(api, look(api, REPO), folder, "first")
    (folder / "config.json").write_bytes(b'{"new": 1}')
    (folder / "onnx" / "model.onnx").unlink()
    assert mirror(api, look(api, REPO), folder, "second").changed
    assert fake_hub.commits(REPO)[-1].operations == ("file config.json", "deletedFile onnx/model.onnx")
    assert set(contents(fake_hub)) == {".gitattributes", "README.md", "config.json"}


def test_mirror__the_very_same_files_make_no_commit(fake_hub: FakeHub, api: HfApi, folder: Path) -> None:
    make(api, REPO, private=True)
    first = mirror(api, look(api, REPO), folder, "first")
    again = mirror(api, look(api, REPO), folder, "again")
    assert (first.changed, again.changed) == (True, False)
    assert again.url == first.url
    assert [commit.summary for commit in fake_hub.commits(REPO)] == ["first"]


def test_mirror__another_branch_leaves_main(fake_hub: FakeHub, api: HfApi, folder: Path) -> None:
    make(api, REPO, private=True)
    mirror(api, look(api, REPO), folder, "release")
    released = contents(fake_hub)
    api.create_branch(REPO, branch="best")
    (folder / "config.json").write_bytes(b'{"epoch": 3}')
    (folder / "README.md").unlink()
    assert mirror(api, look(api, REPO, revision="best"), folder, "epoch 3", branch="best").changed
    assert contents(fake_hub) == released
    assert contents(fake_hub, "best") == {
        **{path: released[path] for path in (".gitattributes", "onnx/model.onnx")},
        "config.json": b'{"epoch": 3}',
    }
    (folder / "onnx" / "model.onnx").unlink()
    mirror(api, look(api, REPO, revision="best"), folder, "epoch 4", branch="best")
    assert set(contents(fake_hub, "best")) == {".gitattributes", "config.json"}
    assert contents(fake_hub) == released


def test_mirror__someone_elses_commit_is_not_overwritten(fake_hub: FakeHub, api: HfApi, folder: Path) -> None:
    make(api, REPO, private=True)
    fake_hub.intruder = True
    with pytest.raises(UserError, match="the branch has moved on"), hub_errors(REPO):
        mirror(api, look(api, REPO), folder, "ours")
    assert [commit.summary for commit in fake_hub.commits(REPO)] == ["someone else's"]


@pytest.mark.parametrize(
    "error", [HTTPError("no route"), ConnectionError("refused"), ValueError("bad"), RuntimeError("odd")]
)
def test_hub_errors__say_what_to_do(error: Exception) -> None:
    with pytest.raises(UserError) as caught, hub_errors(REPO):
        raise error
    message = str(caught.value)
    assert message.startswith(f"acme/panels cannot be written on the Hub: {error}\n")
    assert "log in with `hf auth login` using a token that may write to acme, and try again" in message
    assert caught.value.__cause__ is error


def test_hub_errors__signed_addresses_are_not_shown() -> None:
    signed = "403 for url 'https://bucket.example/upload?X-Signature=secret&id=7' and http://other/x?token=secret again"
    with pytest.raises(UserError) as caught, hub_errors(REPO):
        raise OSError(signed)
    assert "'https://bucket.example/upload' and http://other/x again" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_hub_errors__other_errors_pass() -> None:
    ours = UserError("something of ours")
    with pytest.raises(UserError) as caught, hub_errors(REPO):
        raise ours
    assert caught.value is ours
    with pytest.raises(KeyError), hub_errors(REPO):
        raise KeyError
    with hub_errors(REPO):
        pass


def test_hub_errors__a_read_only_token(fake_hub: FakeHub, api: HfApi) -> None:
    fake_hub.writable = False
    with pytest.raises(UserError, match=r"cannot be written on the Hub: .*403"), hub_errors(REPO):
        make(api, REPO, private=True)
    assert fake_hub.repos == {}


def test_look__a_repository_that_does_not_exist(api: HfApi) -> None:
    assert look(api, REPO).head is None


def test_holds__only_the_very_same_files(api: HfApi, folder: Path) -> None:
    make(api, REPO, private=True)
    assert not holds(look(api, REPO), folder)
    mirror(api, look(api, REPO), folder, "a release")
    remote = look(api, REPO)
    assert holds(remote, folder)
    (folder / "onnx" / "model.onnx").write_bytes(b"another")
    assert not holds(remote, folder)
    (folder / "onnx" / "model.onnx").unlink()
    assert not holds(remote, folder)
