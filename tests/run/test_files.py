import hashlib
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from run.files import Json, atomic_path, file_digest, json_digest, write_json, write_text
from tests.support import files_below


def test_atomic_path__file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert files_below(tmp_path) == {"deep/file.txt": b"new"}


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
