import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from torch import Tensor

from data.labels import LabelSet
from models.building import build, commit_of, find_checkpoint, require_size
from models.classifier import Classifier
from models.facts import public_name
from models.names import architecture_of
from run.errors import UserError
from tests.support import TWO, edit_json, tiny, uint8_batch

ABC = LabelSet(("b", "a", "c"), "nominal")
IMAGES = uint8_batch(2, 160).float() / 255


def original(name: str = "test_vit") -> Any:
    torch.manual_seed(3)
    model = timm.create_model(name, num_classes=3)
    with torch.no_grad():
        model.get_classifier().weight.normal_()
    return model.eval()


def by_timm(folder: Path, name: str = "test_vit", label_key: str = "label_names") -> Any:
    """A folder that timm wrote for the labels b, a, c, and its model."""
    model = original(name)
    timm.models.save_for_hf(model, folder, model_config={label_key: list(ABC.names)}, safe_serialization=True)
    assert (folder / "model.safetensors").is_file()
    return model


def by_transformers(folder: Path, name: str = "test_vit") -> Any:
    """The same model in a folder that transformers wrote."""
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    model = original(name)
    ids = dict(enumerate(ABC.names))
    cfg = {key: value for key, value in model.pretrained_cfg.items() if key != "num_classes"}
    config = TimmWrapperConfig.from_dict(
        {"architecture": name, "pretrained_cfg": cfg},
        num_labels=3,
        id2label=ids,
        label2id={label: index for index, label in ids.items()},
    )
    wrapper = TimmWrapperForImageClassification(config)
    wrapper.timm_model.load_state_dict(model.state_dict())
    wrapper.save_pretrained(folder)
    return model


def features(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    return found


def built(folder: Path | str, labels: LabelSet = ABC, **options: Any) -> Classifier:
    classifier = build(str(folder), labels, key="teacher", pretrained=True, **options)
    classifier.model.eval()
    return classifier


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
@pytest.mark.parametrize("write", [by_timm, by_transformers])
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_build__equal_labels_keep_the_head(tmp_path: Path, write: Any, name: str, prefix: str) -> None:
    model = write(tmp_path / "model", name)
    classifier = built(f"{prefix}{tmp_path / 'model'}")
    with torch.no_grad():
        torch.testing.assert_close(classifier.model(IMAGES), model(IMAGES))
    assert classifier.architecture == name
    assert classifier.spec.size == 160
    assert classifier.spec.mean == tuple(model.pretrained_cfg["mean"])


@pytest.mark.parametrize("names", [("a", "b", "c"), ("b", "a"), ("b", "a", "d"), ("b", "a", "c", "d")])
@pytest.mark.parametrize("write", [by_timm, by_transformers])
def test_build__other_labels_or_order_make_a_new_head_on_the_same_backbone(
    tmp_path: Path, write: Any, names: tuple[str, ...]
) -> None:
    model = write(tmp_path / "model")
    classifier = built(tmp_path / "model", LabelSet(names, "nominal"))
    assert classifier.head.out_features == len(names)
    assert classifier.head.weight.shape != model.get_classifier().weight.shape or not torch.equal(
        classifier.head.weight, model.get_classifier().weight
    )
    torch.testing.assert_close(features(classifier.model), features(model))
    with torch.no_grad():
        torch.testing.assert_close(classifier.features(IMAGES), features(model))


def test_build__a_checkpoint_without_label_names_gets_a_new_head(tmp_path: Path) -> None:
    model = by_timm(tmp_path / "model", label_key="unrelated")
    classifier = built(tmp_path / "model")
    assert not torch.equal(classifier.head.weight, model.get_classifier().weight)
    torch.testing.assert_close(features(classifier.model), features(model))


def test_build__keeps_the_size_a_timm_checkpoint_was_trained_at(tmp_path: Path) -> None:
    by_timm(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model_args"] = {**config.get("model_args", {}), "img_size": 96}
    path.write_text(json.dumps(config), encoding="utf-8")
    classifier = built(tmp_path / "model")
    assert classifier.spec.size == 96
    assert classifier.model(torch.rand(1, 3, 96, 96)).shape == (1, 3)


def test_build__another_size(tmp_path: Path) -> None:
    by_timm(tmp_path / "model")
    classifier = built(tmp_path / "model", image_size=64)
    assert classifier.spec.size == 64
    assert classifier.model(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_build__without_weights_is_drawn_from_the_seed() -> None:
    first, second, other = (tiny(seed=seed).weights_digest() for seed in (0, 0, 1))
    assert first == second != other


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("mobilenetv4_conv_smal", False, r"teacher\.model: timm has no 'mobilenetv4_conv_smal'; near: mobilenetv4"),
        ("mobilenetv4_conv_smal", True, "near: mobilenetv4_conv_small"),
        ("qqqqqqqq", False, "timm has no 'qqqqqqqq'$"),
        ("local-dir:/no/such/folder", True, "config.json does not exist"),
    ],
)
def test_build__no_such_model(name: str, pretrained: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, ABC, key="teacher", pretrained=pretrained)


def test_build__a_model_without_a_linear_head_is_refused() -> None:
    classifier = build("test_mambaout", ABC, key="teacher", pretrained=False)
    with pytest.raises(UserError, match="does not end in one linear layer"):
        _ = replace(classifier, model=timm.create_model("test_vit", num_classes=0)).head


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "only safetensors are loaded, never pickles"),
        (lambda folder: (folder / "config.json").unlink(), "config.json does not exist"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "vit"}'), "not about a timm model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 99), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors"),
    ],
)
def test_build__damaged_folders(tmp_path: Path, spoil: Any, message: str) -> None:
    by_timm(tmp_path / "model")
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    spoil(tmp_path / "model")
    with pytest.raises(UserError, match=message):
        built(tmp_path / "model")


@pytest.mark.parametrize("other", ["test_vit2", "test_vit3", "test_resnet"])
def test_build__weights_of_another_architecture(tmp_path: Path, other: str) -> None:
    by_timm(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "architecture": other}))
    with pytest.raises(UserError, match=f"does not hold the weights of {other}"):
        built(tmp_path / "model")


@pytest.mark.parametrize(
    ("architecture", "args"), [("vit_giant_patch14_224", {}), ("test_vit", {"embed_dim": 65_536, "num_heads": 1024})]
)
def test_build__a_model_much_larger_than_its_weights_takes_no_memory(
    tmp_path: Path, architecture: str, args: dict[str, Any]
) -> None:
    by_timm(tmp_path / "model")
    change_config(tmp_path / "model", lambda config: config.update(architecture=architecture, model_args=args))
    with pytest.raises(UserError, match=f"does not hold the weights of {architecture}: it has .* twice as many"):
        built(tmp_path / "model")


@pytest.mark.slow
def test_build__an_unreachable_hub_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = []
    for name in ("nobody/no-such-model", "hf-hub:nobody/no-such-model", "test_vit.r160_in1k"):
        start = time.monotonic()
        with pytest.raises(UserError, match=r"give teacher\.model the path of a downloaded folder") as refused:
            build(name, LabelSet(("a", "b"), "nominal"), key="teacher", pretrained=True)
        assert time.monotonic() - start < 30
        said.append(" ".join(str(refused.value).split()))
    assert "Random weights are never taken instead" in said[0]
    assert "set teacher.pretrained to false" in said[2]


def test_require_size__no_key_is_blamed_for_what_no_size_would_mend() -> None:
    model = timm.create_model("test_vit", num_classes=2)
    model.blocks[1].mlp.fc1 = torch.nn.Linear(7, 7)
    model.pretrained_cfg["architecture"] = "test_vit"
    with pytest.raises(UserError, match=r"teacher\.image_size: the model cannot take"):
        require_size(model, 160, key="teacher", name="acme/odd")  # its architecture takes 160, so it cannot be known
    model = timm.create_model("test_vit", num_classes=2, in_chans=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", lambda *_args, **_more: model)
        with pytest.raises(UserError, match=r"^teacher\.model: acme/odd cannot be run on an image: \w"):
            require_size(model, 160, key="teacher", name="acme/odd")


def test_architecture_of() -> None:
    assert architecture_of("timm/eva02_base_patch14_448.mim_in22k") == "eva02_base_patch14_448"


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 33), ("test_vit", 8), ("eva02_tiny_patch14_224", 5), ("test_convnext", 1)]
)
def test_build__a_size_the_model_cannot_take(name: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"student x\.image_size: the model cannot take .* {size} x {size} pixels: \w"):
        build(name, TWO, key="student x", pretrained=False, image_size=size)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "tiny_vit_5m_224", "eva02_tiny_patch14_224"])
def test_require_size__leaves_the_model_as_it_was(name: str) -> None:
    model = timm.create_model(name, num_classes=2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    require_size(model, 224 if "224" in name else 160, key="teacher", name=name)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
    copy.deepcopy(model)


@pytest.mark.parametrize(
    "args",
    [
        {"checkpoint_path": "/tmp/other.pth"},
        {"pretrained_cfg_overlay": {"file": "/tmp/other.pth"}},
        {"pretrained_cfg": {"url": "http://127.0.0.1/other.pth"}},
        {"cache_dir": "/tmp"},
        {"scriptable": True},
        {"img_size": {"file": 1}},
        {"depth": 10**9},
        {"depth": 5000},
        {"depths": [500, 600]},
    ],
)
def test_build__arguments_that_lead_elsewhere_are_refused(tmp_path: Path, args: dict[str, Any]) -> None:
    by_timm(tmp_path / "model")
    change_config(tmp_path / "model", lambda config: config.update(model_args=args))
    with pytest.raises(UserError, match="model_args has"):
        built(tmp_path / "model")


@pytest.mark.parametrize("architecture", ["hf-hub:acme/other", "local-dir:/tmp", "acme/other", 7])
def test_build__an_architecture_is_a_name(tmp_path: Path, architecture: Any) -> None:
    by_timm(tmp_path / "model")
    change_config(tmp_path / "model", lambda config: config.update(architecture=architecture))
    with pytest.raises(UserError, match="is no name of a timm model"):
        built(tmp_path / "model")


@pytest.mark.parametrize("key", ["file", "url", "hf_hub_id"])
def test_build__the_weights_beside_the_config_are_the_ones_that_are_loaded(tmp_path: Path, key: str) -> None:
    model = by_timm(tmp_path / "model")
    elsewhere = {"file": str(tmp_path / "none.pth"), "url": "http://127.0.0.1:9/none.pth", "hf_hub_id": "acme/none"}

    def lead(config: dict[str, Any]) -> None:
        config["pretrained_cfg"] |= {key: elsewhere[key], "hf_hub_filename": "none.bin", "source": "hf-hub"}

    change_config(tmp_path / "model", lead)
    torch.testing.assert_close(features(built(tmp_path / "model").model), features(model))


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit_json(folder / "config.json", change)


def test_find_checkpoint__a_pinned_revision_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot_download(repo: str, **options: Any) -> str:
        asked.append((repo, options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    for name in ("acme/start@v1.0", "hf-hub:acme/start@0123abc", "acme/start"):
        find_checkpoint(name, "teacher")
    assert asked == [("acme/start", "v1.0"), ("acme/start", "0123abc"), ("acme/start", None)]
    assert public_name("acme/start@refs/pr/1") == "acme/start@refs/pr/1"


def test_commit_of__the_hubs_cache_alone_has_commits(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert commit_of(tmp_path / "models--acme--start" / "snapshots" / commit) == commit
    assert commit_of(tmp_path / "snapshots" / "v1.0") is None
    assert commit_of(tmp_path / commit) is None
    assert public_name("acme/start", commit) == f"acme/start@{commit}"
    assert public_name("acme/start@v1.0", commit) == "acme/start@v1.0"
    assert public_name(str(tmp_path), commit) == ""


def test_build__remembers_the_commit_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "snapshots" / commit
    by_timm(folder)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    assert built("acme/start").revision == commit
    by_timm(tmp_path / "elsewhere")
    assert built(tmp_path / "elsewhere").revision is None
