import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from run.errors import UserError
from run.folder import RunFolder
from tests import support

REPOSITORY = Path(__file__).parents[2]


def locks_in_another_process(root: Path, then: str = "") -> subprocess.CompletedProcess[str]:
    script = (
        "import os, sys; from pathlib import Path; from run.folder import RunFolder\n"
        f"with RunFolder(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n    {then or 'pass'}\n"
    )
    command = [sys.executable, "-c", script, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)


def test_locked__second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    root = tmp_path / "outputs" / "one"
    with RunFolder(root).locked():
        second = locks_in_another_process(root)
        assert "held" not in second.stdout
        assert "UserError" in second.stderr
        assert f"{root} is in use by process {os.getpid()} of " in second.stderr
        assert f" on {socket.gethostname()}: wait for it or end it" in second.stderr
    assert locks_in_another_process(root).stdout == "held\n"


def test_locked__a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    assert locks_in_another_process(tmp_path, then="os.kill(os.getpid(), 9)").returncode == -9
    with RunFolder(tmp_path).locked():
        pass


def test_locked__is_released_by_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RuntimeError), folder.locked():
        raise RuntimeError
    with folder.locked():
        pass


@pytest.mark.parametrize("name", [".lock", "release", "teacher/work/last.ckpt", ""])
def test_locked__no_link_is_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept")
    root = tmp_path / "outputs" / "one"
    link = root / name if name else root
    link.parent.mkdir(parents=True)
    link.symlink_to(victim / "file" if "." in name else victim)
    with pytest.raises(UserError, match=f"{link} is a symbolic link"), RunFolder(root).locked():
        pass
    assert support.files_below(victim) == {"file": b"kept"}


def test_locked__outputs_itself_may_lie_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    with RunFolder(tmp_path / "outputs" / "one").locked():
        assert (tmp_path / "disk" / "one" / ".lock").is_file()


def test_locked__says_who_held_it_last_only_while_it_is_held(tmp_path: Path) -> None:
    locks_in_another_process(tmp_path, then="os.kill(os.getpid(), 9)")
    with RunFolder(tmp_path).locked():
        assert str(os.getpid()) in locks_in_another_process(tmp_path).stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_locked__a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "my outputs").touch()
    with pytest.raises(UserError, match=r"'.*/my outputs.*' cannot be written: .*; results go there"):
        RunFolder(tmp_path / "my outputs" / "one").locked().__enter__()
