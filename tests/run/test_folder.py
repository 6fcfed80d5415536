import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run.folder
from run.files import Json
from run.folder import RunFolder, resumable
from run.ranks import Rank

REPOSITORY = Path(__file__).parents[2]
INPUTS: dict[str, Json] = {"teacher": {"lr": 0.1, "names": ("a", "b")}, "seed": 0}


def finished(root: Path) -> tuple[RunFolder, Path]:
    folder = RunFolder(root)
    output = root / "teacher" / "model.bin"
    output.parent.mkdir(parents=True)
    output.write_bytes(b"weights")
    folder.mark_done("train", INPUTS, [output])
    return folder, output


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


def test_is_done__only_with_the_same_inputs(tmp_path: Path) -> None:
    folder, _ = finished(tmp_path)
    assert folder.is_done("train", INPUTS)
    assert folder.is_done("train", {"seed": 0, "teacher": {"names": ["a", "b"], "lr": 0.1}})
    assert not folder.is_done("distill", INPUTS)
    assert not folder.is_done("train", {**INPUTS, "seed": 1})
    assert not folder.is_done("train", {**INPUTS, "more": None})
    assert not folder.is_done("train", {"seed": 0})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"weighty"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_is_done__not_when_an_output_is_missing_or_altered(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder, output = finished(tmp_path)
    spoil(output)
    assert not folder.is_done("train", INPUTS)


def test_is_done__touching_an_output_changes_nothing(tmp_path: Path) -> None:
    folder, output = finished(tmp_path)
    os.utime(output, (1, 1))
    assert folder.is_done("train", INPUTS)


def test_is_done__survives_moving_the_run(tmp_path: Path) -> None:
    finished(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert RunFolder(tmp_path / "new").is_done("train", INPUTS)


def test_is_done__another_version_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = finished(tmp_path)
    monkeypatch.setattr(run.folder, "version", lambda name: f"{name} 999")
    assert not folder.is_done("train", INPUTS)
    assert [line.split(":")[0] for line in folder.changes("train", INPUTS)] == ["pocketeva"]


def test_changes__names_dotted_keys_old_and_new(tmp_path: Path) -> None:
    folder, _ = finished(tmp_path)
    assert folder.changes("train", INPUTS) == []
    assert folder.changes("distill", INPUTS) == []
    changed: dict[str, Json] = {"teacher": {"lr": 0.2, "names": ["a", "b"], "mode": "full"}}
    assert folder.changes("train", changed) == ["teacher.lr: 0.1 → 0.2", "teacher.mode: None → full", "seed: 0 → None"]


def test_changes__of_a_digest_show_where_it_begins(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.mark_done("train", {"images": "0f" * 32}, [])
    assert folder.changes("train", {"images": "1a" * 32}) == ["images: 0f0f0f0f… → 1a1a1a1a…"]


def test_resumable__keeps_the_folder_for_equal_inputs_only(tmp_path: Path) -> None:
    work = resumable(tmp_path / "fit", INPUTS)
    (work / "last.ckpt").write_text("half way")
    assert (resumable(work, dict(reversed(INPUTS.items()))) / "last.ckpt").is_file()
    assert not (resumable(work, {**INPUTS, "seed": 1}) / "last.ckpt").exists()
    (work / "last.ckpt").write_text("another seed")
    assert not (resumable(work, INPUTS) / "last.ckpt").exists()


def test_resumable__another_number_of_processes_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of two processes have each seen half of an epoch's images; one process cannot go on from them."""
    for before, now in ((2, 1), (1, 2)):
        monkeypatch.setattr(run.folder, "this_rank", lambda world=before: Rank(0, world))
        work = resumable(tmp_path / f"{before}", INPUTS)
        (work / "last.ckpt").write_text("half way")
        assert (resumable(work, INPUTS) / "last.ckpt").is_file()
        monkeypatch.setattr(run.folder, "this_rank", lambda world=now: Rank(0, world))
        assert not (resumable(work, INPUTS) / "last.ckpt").exists()
