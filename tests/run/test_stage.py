import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from run.files import Json, write_text
from run.folder import RunFolder
from run.ranks import Rank
from run.stage import Inputs, Stage, stage

INPUTS: dict[str, Json] = {"seed": 0, "teacher": {"lr": 0.1}}


def train(root: Path, inputs: Inputs = INPUTS, text: str = "weights") -> bool:
    """One stage that writes a file; false where it was done already."""
    with stage(RunFolder(root), "train", inputs) as current:
        if current.done:
            return False
        path = root / "teacher" / "model.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        current.wrote([path])
    return True


def test_stage__is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path)
    assert capsys.readouterr().err == ""
    assert not train(tmp_path)
    assert capsys.readouterr().err == "train: done already\n"


def test_stage__says_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    assert train(tmp_path, {"seed": 1, "teacher": {"lr": 0.1}})
    assert capsys.readouterr().err == "train: again, because\n  seed: 0 → 1\n"
    assert not train(tmp_path, {"seed": 1, "teacher": {"lr": 0.1}})


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        ({"teacher": {"lr": 0.1, "names": ("a", "b")}, "seed": 0}, []),
        ({"seed": 0, "teacher": {"names": ["a", "b"], "lr": 0.1}}, []),
        ({"seed": 0, "teacher": {"names": ["b", "a"], "lr": 0.1}}, ["teacher.names: ['a', 'b'] → ['b', 'a']"]),
        ({"teacher": {"lr": 0.1, "names": ["a", "b"]}}, ["seed: 0 → None"]),
        ({"teacher": {"lr": 0.1, "names": ["a", "b"]}, "seed": None}, ["seed: 0 → None"]),
        (
            {"teacher": {"lr": 0.1, "names": ["a", "b"]}, "seed": 0, "more": None},
            ["more: this version looks at it too"],
        ),
        ({"teacher": {"lr": 0.1, "names": ["a", "b"]}, "seed": 0, "more": {}}, ["more: None → {}"]),
        ({"teacher": {"lr": 0.1, "names": ["a", "b"]}, "seed": list(range(60))}, ["seed: changed"]),
        (
            {"teacher": {"lr": 0.2, "names": ["a", "b"], "mode": "full"}, "seed": "1a" * 32},
            ["teacher.lr: 0.1 → 0.2", "teacher.mode: None → full", "seed: 0 → 1a1a1a1a…"],
        ),
    ],
)
def test_stage__depends_on_its_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: dict[str, Json], changes: list[str]
) -> None:
    train(tmp_path, {"teacher": {"lr": 0.1, "names": ("a", "b")}, "seed": 0})
    capsys.readouterr()
    assert train(tmp_path, now) == bool(changes)
    said = capsys.readouterr().err.splitlines()
    assert said == (
        ["train: again, because", *(f"  {change}" for change in changes)] if changes else ["train: done already"]
    )


@dataclass(frozen=True)
class Words:
    """An input that is told in words."""

    digest: str

    def save(self, path: Path) -> None:
        write_text(path, self.digest)

    def difference(self, path: Path) -> str:
        return f"from {path.read_text()[0]} to {self.digest[0]}"


def test_stage__says_in_words_what_no_digest_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def inputs(digit: str) -> Inputs:
        return {"images": Words(digit * 64), "weights": digit * 64, "seed": 0}

    assert train(tmp_path, inputs("a"))
    assert not train(tmp_path, inputs("a"))
    capsys.readouterr()
    assert train(tmp_path, inputs("b"))
    assert capsys.readouterr().err == "train: again, because\n  images: from a to b\n  weights: changed\n"


@pytest.mark.parametrize("text", ["", '{"inputs": {', "[1]", "{}", '{"inputs": {}, "outputs": 7}'])
def test_stage__of_a_damaged_stamp_is_gone_through_again(tmp_path: Path, text: str) -> None:
    assert train(tmp_path)
    (tmp_path / "stamps" / "train.json").write_text(text)
    assert train(tmp_path)
    assert not train(tmp_path)


def test_stage__is_done_where_the_run_was_moved_or_a_file_touched(tmp_path: Path) -> None:
    train(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    os.utime(tmp_path / "new" / "teacher" / "model.bin", (1, 1))
    assert not train(tmp_path / "new")


def test_stage__of_another_version_is_one_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("run.stage.version", lambda _: "0.0.9")
        train(tmp_path)
    monkeypatch.setattr("run.stage.version", lambda _: "0.2.0")
    assert train(tmp_path, {"other": True})
    assert capsys.readouterr().err == "train: again, because\n  pocketeva: 0.0.9 → 0.2.0\n"


@pytest.mark.parametrize("spoiled", ["changed", None])
def test_stage__is_done_again_where_a_file_is_not_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoiled: str | None
) -> None:
    train(tmp_path)
    path = tmp_path / "teacher" / "model.bin"
    path.unlink() if spoiled is None else path.write_text(spoiled)
    capsys.readouterr()
    assert train(tmp_path)
    assert capsys.readouterr().err == "train: again, because\n  teacher/model.bin is not as it was\n"
    assert not train(tmp_path)


def test_stage__that_fails_leaves_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_text("half")
    with suppress(KeyboardInterrupt), stage(RunFolder(tmp_path), "train", INPUTS) as current:
        current.wrote([path])
        raise KeyboardInterrupt
    assert train(tmp_path)


def test_stage__that_writes_nothing_is_a_bug(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="the stage train recorded no file"),
        stage(RunFolder(tmp_path), "train", INPUTS),
    ):
        pass


def test_stage__stamps_what_was_written_last(tmp_path: Path) -> None:
    """A file that the stage records and writes again before its end counts as it is at the end."""
    path = tmp_path / "model.bin"
    with stage(RunFolder(tmp_path), "train", INPUTS) as current:
        path.write_text("first")
        current.wrote([path])
        path.write_text("second")
    with stage(RunFolder(tmp_path), "train", INPUTS) as current:
        assert current.done


def test_work_folder__keeps_what_was_begun_with_the_same_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(inputs: dict[str, Json] = INPUTS) -> Path:
        with suppress(KeyboardInterrupt), stage(RunFolder(tmp_path), "train", inputs) as current:
            found.append(current.work_folder(tmp_path / "fit"))
            raise KeyboardInterrupt
        return found[-1]

    found: list[Path] = []
    (work() / "last.ckpt").write_text("half way")
    assert (work() / "last.ckpt").is_file()
    assert not (work({**INPUTS, "seed": 1}) / "last.ckpt").exists()
    (work() / "last.ckpt").write_text("half way")
    assert (work() / "last.ckpt").is_file()
    monkeypatch.setattr("run.stage.version", lambda _: "999")
    assert not (work() / "last.ckpt").exists()


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (1, 1)])
def test_work_folder__of_another_number_of_processes_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, now: int
) -> None:
    monkeypatch.setattr("run.stage.once", lambda work: work())
    for world in (before, now):
        monkeypatch.setattr("run.stage.this_rank", lambda world=world: Rank(0, world))
        work = Stage(False, INPUTS).work_folder(tmp_path / "fit")
        kept = (work / "last.ckpt").is_file()
        (work / "last.ckpt").write_text("half way")
    assert kept == (before == now)
