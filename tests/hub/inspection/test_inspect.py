import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from safetensors.torch import load_file, save_file

import pocketeva
from hub.inspection import record
from hub.inspection.inspect import inspect
from hub.inspection.record import Inspection, Limits
from run.errors import UserError
from run.folder import RunFolder
from tests.hub.fake_hub import FakeHub, File, Repo
from tests.models.test_building import ABC, by_timm, by_transformers

QUICK = Limits(export=False)


def one(name: object, allowed: Limits = QUICK) -> Inspection:
    (found,) = inspect(str(name), allowed)
    return found


def test_inspect__a_timm_name_takes_no_weights() -> None:
    found = one("mobilenetv4_conv_small.e2400_r224_in1k")
    assert (found.kind, found.parameters, found.num_labels) == ("timm model", 3_774_024, 1000)
    assert found.macs == pytest.approx(0.19e9, rel=0.03)  # as timm's own table has it
    assert found.license == "apache-2.0"
    assert found.weights == "timm/mobilenetv4_conv_small.e2400_r224_in1k"
    assert found.preprocessing is not None
    assert (found.preprocessing.resize, found.preprocessing.crop_pct) == ("center", 0.875)
    assert found.onnx.state == "not tried"
    assert "repvit_m0_9" not in found.teaching.students
    assert "mobilenetv4_conv_small" in found.teaching.students
    assert found.latency is not None


def test_inspect__tries_the_export() -> None:
    found = one("timm/test_efficientnet", Limits())
    assert found.onnx.state == "exports"
    assert found.onnx.difference is not None
    assert 0 < found.onnx.difference < 1e-4
    assert found.latency is not None
    assert found.latency.runtime.startswith("ONNX Runtime")


def test_inspect__an_architecture_for_one_size() -> None:
    found = one("eva02_tiny_patch14_224")
    assert found.sizes == (224,)
    assert found.rebuilt
    assert found.macs == pytest.approx(1.7e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenetv4_conv_smal", "is no file or folder here, .* near: mobilenetv4_conv_small"),
        ("mobilenetv4_conv_small.no_such", r"no weights 'no_such' for it: .*e2400_r224_in1k"),
        ("folder/deep/model", "does not exist"),
        ("gone.onnx", "does not exist"),
        ("x" * 300, "is no name of a model: File name too long"),
        ("", "its name is empty"),
    ],
)
def test_inspect__names_of_nothing(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        one(name)


@pytest.mark.parametrize("write", [by_timm, by_transformers])
def test_inspect__checkpoints_of_timm_and_of_transformers(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("---\nlicense: other\nlicense_name: acme-1\n---\n# Model\n")
    found = one(tmp_path / "model")
    assert (found.kind, found.architecture) == ("checkpoint", "test_vit")
    assert (found.labels, found.label_kind) == (ABC.names, "nominal")
    assert found.license == "acme-1"
    assert found.files[0].bytes == (tmp_path / "model" / "model.safetensors").stat().st_size
    assert found.latency is not None


def changed(folder: Path, **keys: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model_args": {"depth": 900_000}}, "values that are no numbers, names or short lists"),
        ({"num_classes": 10**9}, "num_classes must be a number up to 1,000,000"),
        ({"pretrained_cfg": {"input_size": [3, 160, 160], "mean": ["a"] * 3, "std": [1] * 3}}, "that makes sense"),
        ({"pocketeva": 5}, "pocketeva in config.json makes no sense"),
        ({"architecture": "no_such_model"}, "^timm has no 'no_such_model'"),
        ({"label_names": ["a", "b"]}, "does not hold the weights of test_vit"),
    ],
)
def test_inspect__checkpoints_of_strangers(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    by_timm(tmp_path / "model")
    changed(tmp_path / "model", **keys)
    with pytest.raises(UserError, match=message):
        one(tmp_path / "model")


def test_inspect__a_huge_model_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_timm(tmp_path / "model")
    monkeypatch.setattr(record, "WEIGHTS", 1000)
    found = one(tmp_path / "model")
    assert found.latency is None
    assert found.onnx.state == "not tried"
    assert found.not_timed == found.onnx.reason
    assert "--huge runs it all the same" in str(found.not_timed)
    assert one(tmp_path / "model", Limits(export=False, huge=True)).latency is not None


def test_inspect__a_release_at_any_level(finished_run: RunFolder) -> None:
    for root in (finished_run.root, finished_run.release):
        assert [Path(found.name).name for found in inspect(str(root), QUICK)] == ["teacher-onnx", "mini-onnx"]
    folder = finished_run.release / "mini-onnx"
    found = one(folder)
    assert (found.kind, found.label_kind, found.decision) == ("release", "ordinal", "argmax")
    assert found.inputs[0].shape[1:] == (3, found.preprocessing.size, found.preprocessing.size)  # type: ignore[union-attr]
    assert found.batch is None
    assert {file.name for file in found.files} >= {"onnx/model.onnx", "rgb.onnx"}
    assert all(file.latency for file in found.files)
    assert found.teaching.reason == f"that takes the checkpoint, {finished_run.release / 'mini'}"
    pixels = one(folder / "rgb.onnx")
    assert (pixels.batch, pixels.any_size) == (1, True)
    checkpoint = one(finished_run.release / "mini")
    assert checkpoint.label_kind == "ordinal"
    # Two ways to count the same model: by torch's operations, and by the shapes of the exported graph.
    assert found.macs == checkpoint.macs


def test_inspect__onnx_of_others(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3, 3, 3], [0.1] * 108)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4, 6, 6])],
        [weights],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "other.onnx")
    found = one(tmp_path / "other.onnx")
    assert (found.parameters, found.macs) == (108, 4 * 6 * 6 * 27)
    assert found.labels is None
    assert found.latency is not None
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be run"):
        one(tmp_path / "other.onnx")


def test_inspect__names_of_strangers_steer_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    by_timm(tmp_path / "model")
    changed(tmp_path / "model", label_names=["a\x1b[2J", "b\nc", "\u202ed"])
    for form in ([], ["--json"]):
        assert pocketeva.main(["inspect", str(tmp_path / "model"), "--no-export", *form]) == pocketeva.DONE
        said = capfd.readouterr().out
        assert "\x1b[2J" not in said
        assert "\u202e" not in said
    assert json.loads(said)["models"][0]["labels"][1] == "b\nc"


def test_inspect__weights_that_transformers_prefixed_in_half_precision(tmp_path: Path) -> None:
    by_transformers(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    assert one(tmp_path / "model").labels == ABC.names


def test_inspect__folders_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        one(tmp_path)
    by_timm(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors does not exist; only safetensors are loaded"):
        one(tmp_path / "model")
    with pytest.raises(UserError, match="is no ONNX file"):
        one(shutil.copy(tmp_path / "model" / "config.json", tmp_path / "x.json"))


def put(hub: FakeHub, repo: str, folder: Path) -> None:
    """A repository with the files of a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    made = Repo.new(repo, private=False)
    first = made.branches["main"][0]
    content = {name: File(path.read_bytes(), lfs=name.endswith(".safetensors")) for name, path in files.items()}
    made.branches["main"] = [type(first)(first.oid, "files", {**first.files, **content})]
    hub.repos[repo] = made


@pytest.mark.usefixtures("local_hub")
def test_inspect__a_repository_on_the_hub(
    fake_hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_transformers(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"a pickle")
    put(fake_hub, "acme/panels", tmp_path / "model")
    assert pocketeva.main(["inspect", "acme/panels@main", "--json", "--no-export"]) == pocketeva.DONE
    (found,) = json.loads(capsys.readouterr().out.splitlines()[0])["models"]
    assert (found["name"], found["labels"]) == ("acme/panels@main", ["b", "a", "c"])
    assert not [request for request in fake_hub.requests if "pytorch_model" in request]
    assert pocketeva.main(["inspect", "acme/gone"]) == pocketeva.WRONG_INPUT
    assert "acme/gone is no folder here, and cannot be read on the Hub" in capsys.readouterr().err
