import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import run.files
from run.errors import UserError
from run.files import Json, atomic_path, file_digest, json_digest, locked, remove, write_json, write_text
from run.ranks import Rank
from tests.support import files_below


def test_atomic_path__file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "very" / "deep" / "file.txt"
    with atomic_path(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert files_below(tmp_path) == {"very/deep/file.txt": b"new"}


def test_atomic_path__error_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with suppress(RuntimeError), atomic_path(tmp_path / "file") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert files_below(tmp_path) == {"file": b"old"}


def test_atomic_path__folder_is_replaced_not_merged(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "stale").write_text("old")
    with atomic_path(folder) as partial:
        partial.mkdir()
        (partial / "fresh").write_text("new")
        assert (folder / "stale").exists()
    assert files_below(tmp_path) == {"folder/fresh": b"new"}


def test_atomic_path__error_keeps_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    with suppress(RuntimeError), atomic_path(folder) as partial:
        partial.mkdir()
        raise RuntimeError
    assert files_below(tmp_path) == {"folder/old": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_atomic_path__starts_afresh_after_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from run.files import Json, atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as partial:\n"
        "    partial.mkdir(); (partial / 'half').write_text('x'); os._exit(9)\n"
    )
    target = tmp_path / "folder"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False, cwd=Path(__file__).parents[2])
    assert not target.exists()
    assert list(files_below(tmp_path)) == [".partial-folder/half"]
    with atomic_path(target) as partial:
        partial.mkdir()
        (partial / "whole").write_text("y")
    assert list(files_below(tmp_path)) == ["folder/whole"]


def test_write_json__refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert files_below(tmp_path) == {"a.json": '{\n  "ä": [\n    1,\n    2.5,\n    null\n  ]\n}\n'.encode()}


def test_file_digest__is_sha256_of_the_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "grüße")
    assert file_digest(tmp_path / "a") == hashlib.sha256("grüße".encode()).hexdigest()


def test_json_digest__ignores_key_order_and_tells_values_apart() -> None:
    assert json_digest({"a": 1, "b": (2, 3)}) == json_digest({"b": [2, 3], "a": 1})
    values: list[Json] = [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"a": None}, {"a": [1]}, {}]
    assert len({json_digest(value) for value in values}) == len(values)
    with pytest.raises(ValueError):
        json_digest(float("inf"))


def test_json_digest__is_sha256_of_canonical_json() -> None:
    """Stamps and caches of earlier versions are found by it."""
    value: Json = {"b": [1, 2.5, None], "a": {"d": "ä", "c": True}}
    canonical = rb'{"a":{"c":true,"d":"\u00e4"},"b":[1,2.5,null]}'
    assert json_digest(value) == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize("number", [0, 3])
def test_atomic_path__processes_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(run.files, "this_rank", lambda: Rank(number, 4))
    with atomic_path(tmp_path / "file") as partial:
        assert partial == tmp_path / (".partial-3-file" if number else ".partial-file")
        partial.write_text("new")
    assert files_below(tmp_path) == {"file": b"new"}


def test_atomic_path__clears_what_a_kill_left_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / ".partial-file").mkdir()
    (tmp_path / ".partial-file" / "stale").write_text("x")
    with atomic_path(tmp_path / "file") as partial:
        assert not partial.exists()
        partial.write_text("new")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("x")
    (tmp_path / ".partial-old-folder").mkdir()
    (tmp_path / ".partial-old-folder" / "older").write_text("x")
    with atomic_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "new").write_text("y")
    assert files_below(tmp_path) == {"file": b"new", "folder/new": b"y"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_atomic_path__old_folder_is_moved_aside_before_the_new_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two steps, both are still there under names that say what they are."""
    folder, move = tmp_path / "folder", Path.rename
    folder.mkdir()
    (folder / "old").write_text("x")

    def killed(path: Path, to: Path) -> Path:
        if to == folder:
            assert files_below(tmp_path) == {".partial-folder/new": b"y", ".partial-old-folder/old": b"x"}
        return move(path, to)

    monkeypatch.setattr(Path, "rename", killed)
    with atomic_path(folder) as partial:
        partial.mkdir()
        (partial / "new").write_text("y")
    assert files_below(tmp_path) == {"folder/new": b"y"}


def test_atomic_path__a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are Linux's")
    write_text(tmp_path / "file", "new")
    assert synced == [str(tmp_path / ".partial-file")]


def test_remove__files_folders_and_links(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "folder", target_is_directory=True)
    remove(tmp_path / "link")
    assert files_below(tmp_path) == {"folder/deep/file": b"x"}, "what a link points to stays"
    assert not (tmp_path / "link").is_symlink()
    remove(tmp_path / "folder" / "deep" / "file")
    remove(tmp_path / "folder")
    remove(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_locked__a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match=r"\.lock is a symbolic link"), locked(tmp_path / ".lock", wait=False):
        pass
    assert (tmp_path / "victim").read_text() == "kept"


def test_write_json__credentials_are_left_out(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"uri": "https://me:word@host/?X-Amz-Signature=f00"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"uri": "https://***@host/?X-Amz-Signature=***"}
