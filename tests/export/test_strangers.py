"""A release that a stranger made: what it says of itself is not believed, and what it asks for is bounded."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pocketeva
from export.limits import bounded_memory, within_time
from export.release import open_onnx
from export.rgb import write_rgb
from export.runtime import OnnxClassifier
from export.session import open_session
from run.errors import UserError
from tests import support
from tests.export.conftest import Exported

ROOT = Path(__file__).parents[2]


def changed(source: Path, to: Path, **values: Any) -> Path:
    """A copy of an ONNX file with other values in its metadata."""
    model = onnx.load(source)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, metadata | {key: json.dumps(value) for key, value in values.items()})
    onnx.save(model, to)
    return to


def spec(**changes: Any) -> dict[str, Any]:
    good = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.2] * 3, "crop_mode": "squash", "crop_pct": 1}
    return {**good, **changes}


def names(*labels: Any, kind: str = "ordinal") -> dict[str, Any]:
    return {"names": list(labels), "kind": kind}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"input": spec(input_size=[3, 40_000, 40_000])}, "40000 pixels"),
        ({"input": spec(input_size=[3, 96, 96])}, r"input pixel_values \[any, 3, 64, 64\] where .*96"),
        ({"input": spec(input_size=[3, -64, -64])}, "-64 pixels"),
        ({"input": spec(mean=[float("nan")] * 3)}, "statistics of pixels"),
        ({"input": spec(std=[0.2, 0.2])}, "3 numbers each"),
        ({"input": spec(std=[0, 1, 1])}, "statistics of pixels"),
        ({"input": spec(crop_mode="center", crop_pct=1e-9)}, "crop_pct must be"),
        ({"input": spec(input_size=[])}, "make sense"),
        ({"input": []}, "make sense"),
        ({"labels": names("a", "b", "c")}, r"output logits \[any, 4\] where logits \[any, 3\]"),
        ({"labels": names("a", "b", "c", "c")}, "4 label names, 3 of them different"),
        ({"labels": names("a", "b", "c", 4)}, "no list of texts"),
        ({"labels": names("a", "b", "c", "d", kind="fuzzy")}, "'fuzzy' is no kind"),
        ({"labels": names(*"abcd", kind="multilabel"), "decision": {"thresholds": [0.5]}}, "expected 4 thresholds"),
        ({"labels": names(*"abcd", kind="multilabel"), "decision": {"thresholds": [float("nan")] * 4}}, "thresholds"),
        ({"decision": 7}, "make sense"),
    ],
)
def test_open__metadata_that_is_not_about_the_graph(
    exported: Exported, tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        OnnxClassifier(changed(exported[1], tmp_path / "model.onnx", **values))


def test_open__an_rgb_of_another_label_set(exported: Exported, tmp_path: Path) -> None:
    write_rgb(exported[1], tmp_path / "rgb.onnx")
    assert open_onnx(tmp_path / "rgb.onnx").labels == support.FOUR
    path = changed(tmp_path / "rgb.onnx", tmp_path / "rgb.onnx", labels=names("a", "b", "c"))
    with pytest.raises(UserError, match=r"output probabilities \[4\], scores \[4\].* where probabilities \[3\]"):
        open_onnx(path)


def test_predict__the_size_in_the_metadata_takes_no_memory(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mini-onnx"
    (folder / "onnx").mkdir(parents=True)
    changed(exported[1], folder / "onnx" / "model.onnx", input=spec(input_size=[3, 4096, 4096]))
    support.picture().save(tmp_path / "a.png")
    assert pocketeva.main(["predict", str(folder), str(tmp_path / "a.png")]) == pocketeva.WRONG_INPUT
    assert "its metadata is not about its graph" in capsys.readouterr().err


def test_predict__a_score_that_is_not_a_number_decides_nothing(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(exported[1])
    for node in model.graph.node:
        node.output[:] = ["finite" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nothing"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["finite", "nothing"], ["logits"]))
    onnx.save(model, tmp_path / "model.onnx")
    support.picture().save(tmp_path / "a.png")
    assert pocketeva.main(["predict", str(tmp_path / "model.onnx"), str(tmp_path / "a.png"), "--json"]) == 2
    printed = capsys.readouterr()
    assert "a.png: " in printed.err
    assert json.loads(printed.out)["error"].endswith("gives a score that is not a number")


def greedy(path: Path, count: int) -> Path:
    """A small file that asks for ``count`` numbers when it is run."""
    text = f"""<ir_version: 8, opset_import: ["" : 18]> greedy (float[n] x) => (float y)
        <int64[1] count = {{{count}}}> {{
            many = ConstantOfShape (count)
            z = ReduceSum <keepdims = 0> (many)
            w = ReduceSum <keepdims = 0> (x)
            y = Add (z, w)
        }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not heed the limit")
def test_bounded_memory__a_file_that_asks_for_gigabytes(tmp_path: Path) -> None:
    path = greedy(tmp_path / "greedy.onnx", 4 * 2**30)
    with bounded_memory(path):
        session = open_session(path)
        with pytest.raises(Exception, match="Failed to allocate memory"):
            session.run(None, {"x": np.zeros(1, np.float32)})
        with pytest.raises(UserError, match=r"greedy\.onnx asks for more than 3 GiB"), bounded_memory(path):
            np.zeros(4 * 2**30, np.uint8)
    assert np.zeros(4 * 2**30, np.uint8)[-1] == 0, "the limit is gone with the block"


def test_within_time__a_file_that_does_not_end(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]> endless (float[n] x) => (float[n] y)
        <int64 turns = {9000000000}, bool always = {1}> {
            y = Loop (turns, always, x) <body = turn (int64 i, bool c, float[n] a) => (bool d, float[n] b) {
                d = Identity (c)
                b = Sin (a)
            }>
        }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "endless.onnx")
    session = open_session(tmp_path / "endless.onnx")
    started = time.monotonic()
    with pytest.raises(UserError, match="more than 1 second"):
        within_time(lambda options: session.run(None, {"x": np.zeros(9, np.float32)}, options), seconds=1)
    assert time.monotonic() - started < 30


def test_open_session__names_of_nodes_reach_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
        odd (float[n] x, int64[m] at) => (float[m] y) { y = Gather (x, at) }"""
    model = onnx.parser.parse_model(text)
    model.graph.node[0].name = "\x1b]0;mine\x07\u202e"
    onnx.save(model, tmp_path / "odd.onnx")
    session = open_session(tmp_path / "odd.onnx")
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"x": np.zeros(2, np.float32), "at": np.array([7])})
    assert capfd.readouterr() == ("", "")


ONE_NODE = """
<ir_version: 8, opset_import: ["" : 18]> endless (int64[3] shape) => (float[a, b, c] y) {
    long = ConstantOfShape <value = float[1] {1.0}> (%s)
    y = Conv <pads = [1999999, 1999999]> (long, long)
}"""
RUN = """
import sys
from pathlib import Path
import numpy as np
from export.limits import within_time
from export.runtime import open_file
from run.errors import UserError
try:
    session = open_file(Path(sys.argv[1]), 1, 60 if sys.argv[2] == "run" else 1)
    shape = np.array([1, 1, 2_000_000])
    within_time(lambda options: session.run(None, {"shape": shape}, options), 1)
except UserError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize(("when", "said"), [("run", "one image took"), ("open", "opening")])
def test_within_time__a_single_node_that_does_not_end(tmp_path: Path, when: str, said: str) -> None:
    """ONNX Runtime ends a run between two nodes only; a node of constants is run when the file is opened."""
    model = onnx.parser.parse_model(ONE_NODE % ("shape" if when == "run" else "fixed"))
    if when == "open":
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2_000_000]), "fixed"))
    onnx.save(model, tmp_path / "endless.onnx")
    command = [sys.executable, "-c", RUN, str(tmp_path / "endless.onnx"), when]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert said in done.stdout
    assert "took more than 1 second: it is not run" in done.stdout


def change_index(release: Path, change: Callable[[dict[str, Any]], object]) -> None:
    support.edit_json(release / "golden" / "index.json", change)


@pytest.fixture
def release(finished_root: Path, tmp_path: Path) -> Path:
    """The released student's ONNX folder, to be changed."""
    source = finished_root / "outputs" / "quick" / "release" / "mini-onnx"
    return Path(shutil.copytree(source, tmp_path / "mini-onnx"))


def check_golden(release: Path) -> int:
    return pocketeva.main(["check-golden", str(release)])


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n"


@pytest.mark.parametrize("key", ["rgb", "pixels", "file"])
@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "linked.png", "eps.png", "gray.rgb.png/x", ".a.png"])
def test_check_golden__a_kit_that_names_other_files(
    release: Path, capsys: pytest.CaptureFixture[str], key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = release / "golden"
    (release / "secret.png").write_bytes((golden / "gray.rgb.png").read_bytes())
    (golden / "linked.png").symlink_to(release / "secret.png")
    (golden / "eps.png").write_bytes(EPS)
    monkeypatch.setenv("PATH", "")  # no Ghostscript to be started
    change_index(release, lambda index: index["images"][0].update({key: name}))
    code = check_golden(release)
    if (key, name) == ("file", "eps.png"):  # decoded like any image of an app: it is none
        assert code == pocketeva.NOT_VERIFIED
    else:
        assert code == pocketeva.WRONG_INPUT
        assert "golden is damaged" in capsys.readouterr().err


def test_check_golden__tolerances_are_ours(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def allow_all(index: dict[str, Any]) -> None:
        for entry in index["images"]:
            entry["tolerance"] = {"decode": 255, "resize": 255, "logits": 1e30, "probabilities": 1.0}
            entry["logits"][0] += 9

    change_index(release, allow_all)
    assert check_golden(release) == pocketeva.NOT_VERIFIED
    assert "the first to look at: logits" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(images=index["images"] * 9),
        lambda index: index["images"][0]["logits"].pop(),
        lambda index: index["images"][0].update(logits=[float("inf")] * 4),
        lambda index: index["images"][0].update(probabilities="many"),
        lambda index: index.update(images=7),
        lambda index: index["input"].update(input_size=[3, 30_000, 30_000]),
        lambda index: index["input"].update(input_size=[3, 32, 32]),
    ],
)
def test_check_golden__an_index_that_makes_no_sense(
    release: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], object]
) -> None:
    change_index(release, change)
    assert check_golden(release) == pocketeva.WRONG_INPUT
    assert "golden" in capsys.readouterr().err
