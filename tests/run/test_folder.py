import subprocess
import sys
from pathlib import Path

import pytest

from run.folder import RunFolder

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
        assert f"{root} is in use by another pocketeva process" in second.stderr
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
