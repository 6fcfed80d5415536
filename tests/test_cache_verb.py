"""``pocketeva cache`` on a run that has finished."""

import json
from pathlib import Path

import pytest

import pocketeva
from run.folder import RunFolder
from tests import finished
from tests.support import files_below
from tests.two import Started


@pytest.fixture
def run(finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    return RunFolder(Path("outputs") / "quick")


def test_main__cache_check_of_a_finished_run(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_below(run.cache)
    assert pocketeva.main(["cache", "check", "config.yaml", "--sample", "5"]) == pocketeva.DONE
    assert "5 computed again" in capsys.readouterr().out
    assert files_below(run.cache) == before, "looking changes nothing"
    path = next(run.cache.rglob("[0-9]*.npy"))
    path.write_bytes(path.read_bytes()[:-2] + b"zz")
    assert pocketeva.main(["cache", "check", "config.yaml"]) == pocketeva.NOT_VERIFIED
    assert path.stem in capsys.readouterr().out
    other = ["cache", "check", "config.yaml", "--views.crop_scale", "[0.9, 1.0]"]
    assert pocketeva.main(other) == pocketeva.WRONG_INPUT
    assert "nothing is cached" in capsys.readouterr().err


def test_main__cache_build_beside_another_run_is_refused(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with run.locked():
        assert pocketeva.main(["cache", "build", "config.yaml"]) == pocketeva.WRONG_INPUT
    assert "in use" in capsys.readouterr().err
    assert pocketeva.main(["cache", "build", "config.yaml"]) == pocketeva.DONE
    assert "0 images × views computed" in capsys.readouterr().err


@pytest.mark.slow
def test_main__cache_build_by_two_processes(run: RunFolder) -> None:
    run.cache.rename("elsewhere")
    command = ["cache", "build", "config.yaml"]
    processes = [Started(Path.cwd(), rank, pocketeva.main, command, RANK=rank, WORLD_SIZE="2") for rank in "10"]
    results = [process.ended() for process in processes]
    assert [code for code, *_ in results] == [0, 0], results
    assert pocketeva.main(["cache", "check", "config.yaml", "--sample", "1000"]) == pocketeva.DONE
    assert pocketeva.main(["train", "config.yaml", "--teacher.head.patience", "1"]) == pocketeva.DONE
    metrics = json.loads((run.teacher / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["teacher_passes"]["images_x_views"] == 0
