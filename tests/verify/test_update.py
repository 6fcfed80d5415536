import csv
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import pocketeva
from data.labels import LabelSet
from models.decision import DecisionRule
from tests import finished
from tests.verify.claims import answers
from verify.criteria import Answers
from verify.statistics import Proportion, tango
from verify.update import Flip, show_update, update_of


def four(old: str, new: str, truth: str) -> Answers:
    """Decisions and truth as digits."""
    said = {name: np.array(list(map(int, digits))) for name, digits in (("old", old), ("new", new), ("truth", truth))}
    return answers(said["truth"], old=said["old"], new=said["new"])


def test_update_of__wins_losses_and_flips_by_hand() -> None:
    found = update_of("new", four("3012201230", "0012121231", "3012221231"), "old", "new", 0.95)
    gain = found.accuracy
    assert (gain.n, gain.gained, gain.lost) == (10, 2, 2)
    assert (gain.lower, gain.upper) == tango(2, 2, 10, 0.95)
    assert found.negative_flips == Proportion(2, 10).with_bounds(0.95)
    assert {about: (rate.count, rate.n) for about, rate in found.dangerous_flips.items()} == {
        "doubtful or worse": (1, 7),
        "likely or worse": (2, 5),
        "broken or worse": (1, 2),
    }
    assert {name: (gain.n, gain.gained, gain.lost) for name, gain in found.recall.items()} == {
        "sound": (1, 0, 0),
        "doubtful": (3, 1, 0),
        "likely": (4, 1, 1),
        "broken": (2, 0, 1),
    }
    assert found.recall["likely"].confidence == pytest.approx(1 - 0.05 / 4)


def test_update_of__regressions_are_shown_and_not_guessed() -> None:
    truth = "0123" * 50
    same = update_of("new", four(truth, truth, truth), "old", "new", 0.95)
    assert list(same.regressions()) == []
    one = update_of("new", four(truth, "2" + truth[1:], truth), "old", "new", 0.95)
    assert (one.accuracy.lost, list(one.regressions())) == (1, [])
    milder = truth.replace("3", "2", 20)
    worse = list(update_of("new", four(truth, milder, truth), "old", "new", 0.95).regressions())
    assert worse[0].startswith("accuracy is lower by 10.0 points (at least ")
    assert worse[1].startswith("recall of 'broken' is lower by 40.0 points")
    assert worse[2] == "'broken or worse' is missed on 20 of 50 images that the old file finds"
    better = list(update_of("new", four(milder, truth, truth), "old", "new", 0.95).regressions())
    assert better == []


def test_show_update__writes_the_images_that_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = update_of("new", four("3" * 40, "2" * 40, "3" * 40), "old", "new", 0.95)
    flips = [
        Flip("/images/a,b.png", "new", "broken", "broken", "likely"),
        Flip("https://me:word@host/a.png?sig=f00", "new", "=1+1", "broken", "likely"),
    ]
    assert not show_update([found], flips, tmp_path / "flips.csv")
    said = capsys.readouterr().out
    assert "new against the old release: 0 wins, 40 losses on 40 images: -100.0 points" in said
    assert "worse: recall of 'broken' is lower by 100.0 points" in said
    with (tmp_path / "flips.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"uri": "/images/a,b.png", "file": "new", "truth": "broken", "old": "broken", "new": "likely"},
            # No spreadsheet takes it for a formula, and whoever gets the file cannot fetch the image.
            {
                "uri": "https://***@host/a.png?sig=***",
                "file": "new",
                "truth": "'=1+1",
                "old": "broken",
                "new": "likely",
            },
        ]
    assert show_update([update_of("new", four("0", "0", "0"), "old", "new", 0.95)], [], tmp_path / "flips.csv")


def negate(path: Path) -> None:
    """Make a file say what it deems the least likely."""
    model = onnx.load(path)
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == "logits":
                node.output[index] = "plain"
    model.graph.node.append(onnx.helper.make_node("Neg", ["plain"], ["logits"]))
    onnx.save(model, path)


def test_main__verify_against(
    finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    release = root / "outputs" / "quick" / "release"
    shutil.copytree(release, tmp_path / "old")
    flips = root / "outputs" / "quick" / "verify" / "flips.csv"
    before = pocketeva.main(["verify", "config.yaml"])
    for old in (tmp_path / "old", tmp_path / "old" / "mini-onnx", tmp_path / "old" / "mini"):
        assert pocketeva.main(["verify", "config.yaml", "--against", str(old)]) == before
        assert flips.read_text() == "uri,file,truth,old,new\n"
    negate(tmp_path / "old" / "mini-onnx" / "onnx" / "model.onnx")
    capsys.readouterr()
    code = pocketeva.main(["verify", "config.yaml", "--against", str(tmp_path / "old")])
    # Whether so few images show a loss depends on the random model; what is shown decides.
    assert code == (pocketeva.NOT_VERIFIED if "\n  worse: " in capsys.readouterr().out else before)
    rows = list(csv.DictReader(flips.open(newline="")))
    assert len(rows) == finished.SPLIT_SIZES["test"] * 4 + finished.DUPLICATES
    assert {row["file"] for row in rows} == {"mini-onnx/onnx/model.onnx"}
    assert all(Path(row["uri"]).is_file() and row["old"] != row["new"] for row in rows)
    assert not list(release.rglob("flips.csv"))
    assert pocketeva.main(["verify", "config.yaml", "--against", str(tmp_path)]) == pocketeva.WRONG_INPUT


def test_update_of__sets_of_labels() -> None:
    rule = DecisionRule.of(LabelSet(("dog", "cat"), "multilabel"))
    sets = {
        "truth": np.array([[1, 0], [1, 1], [0, 0]], bool),
        "old": np.array([[1, 0], [1, 1], [0, 1]], bool),
        "new": np.array([[1, 0], [1, 0], [0, 0]], bool),
    }
    both = Answers(
        rule=rule,
        images=["a", "b", "c"],
        targets=sets["truth"].astype(np.float32),
        told=np.ones(3, bool),
        decided=sets,
        logits={},
    )
    found = update_of("new", both, "old", "new", 0.95)
    assert (found.accuracy.gained, found.accuracy.lost) == (1, 1)
    assert (found.dangerous_flips["cat"].count, found.dangerous_flips["cat"].n) == (1, 1)
    assert found.recall["cat"].lost == 1
