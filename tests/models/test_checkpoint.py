import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from data.decode import decode
from data.labels import LabelSet
from models import checkpoint
from models.building import build
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.errors import UserError
from tests.support import elpv_rows, files_below, tiny, uint8_batch

LABELS = LabelSet(("none", "ä crack", "broken"), "ordinal")
NAMES = ["test_vit", "test_efficientnet", "eva02_tiny_patch14_224"]


def saved(folder: Path, name: str = "test_vit", size: int = 112) -> Classifier:
    classifier = tiny(name, LABELS, size)
    for module in classifier.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
    checkpoint.save(classifier, folder, CheckpointFacts(labels=LABELS, mode="full", temperature=1.25))
    return classifier


@pytest.mark.parametrize("name", NAMES)
def test_load__gives_back_what_was_saved(tmp_path: Path, name: str) -> None:
    classifier = saved(tmp_path / "model", name)
    loaded = checkpoint.load(tmp_path / "model", LABELS)
    assert sorted(files_below(tmp_path)) == ["model/config.json", "model/model.safetensors"]
    assert (loaded.architecture, loaded.labels, loaded.spec) == (classifier.architecture, LABELS, classifier.spec)
    assert loaded.weights_digest() == classifier.weights_digest()
    assert loaded.weights_digest(backbone_only=True) == classifier.weights_digest(backbone_only=True)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    images = classifier.normalize(uint8_batch(2, 112))
    with torch.no_grad():
        assert torch.equal(loaded.model(images), classifier.model(images))
    assert CheckpointFacts.read(tmp_path / "model") == CheckpointFacts(labels=LABELS, mode="full", temperature=1.25)


def test_save__is_the_same_bytes_each_time(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    saved(tmp_path / "b")
    assert files_below(tmp_path / "a") == files_below(tmp_path / "b")


def test_save__replaces_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "stale.bin").touch()
    saved(tmp_path / "model")
    assert sorted(files_below(tmp_path / "model")) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_save__timm_loads_it(tmp_path: Path, name: str) -> None:
    classifier = saved(tmp_path / "model", name)
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    images = classifier.normalize(uint8_batch(2, 112))
    with torch.no_grad():
        torch.testing.assert_close(model(images), classifier.model(images))
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 112, 112)
    assert tuple(config["mean"]) == classifier.spec.mean
    assert (config["crop_mode"], config["interpolation"]) == (classifier.spec.mode, "bicubic")


@pytest.mark.parametrize("name", NAMES)
def test_save__transformers_loads_it(tmp_path: Path, name: str) -> None:
    from transformers import pipeline

    classifier = saved(tmp_path / "model", name)
    classify: Any = pipeline("image-classification", model=str(tmp_path / "model"))
    image = decode(elpv_rows()[0][0].read_bytes()).resize((80, 70))
    found = {row["label"]: row["score"] for row in classify(image, top_k=3)}
    pixels = torch.from_numpy(classifier.spec.render(image).transpose(2, 0, 1).copy())
    with torch.no_grad():
        scores = classifier.model(classifier.normalize(pixels[None])).softmax(1)[0]
    assert found.keys() == set(LABELS.names)
    ours = [found[label] for label in LABELS.names]
    np.testing.assert_allclose(ours, scores.numpy(), atol=0.02)  # two resizers, an eighth bit apart
    tensor = torch.from_numpy(classifier.spec.normalize(np.asarray(Image.new("RGB", (112, 112), "teal"))))[None]
    with torch.no_grad():
        torch.testing.assert_close(classify.model(pixel_values=tensor).logits, classifier.model(tensor))


def test_save__transformers_takes_a_sigmoid_of_each_logit_of_a_multilabel_set(tmp_path: Path) -> None:
    from transformers import pipeline

    classifier = tiny("test_vit", LabelSet(LABELS.names, "multilabel"), 112)
    classifier = replace(classifier, spec=classifier.spec.squashed())
    checkpoint.save(classifier, tmp_path / "model", CheckpointFacts(labels=classifier.labels))
    classify: Any = pipeline("image-classification", model=str(tmp_path / "model"))
    image = decode(elpv_rows()[0][0].read_bytes()).resize((112, 112))
    found = {row["label"]: row["score"] for row in classify(image)}
    pixels = torch.from_numpy(classifier.spec.normalize(np.asarray(image)))[None]
    with torch.no_grad():
        scores = classifier.model(pixels).sigmoid()[0]
    np.testing.assert_allclose([found[label] for label in LABELS.names], scores.numpy(), atol=1e-4)


@pytest.mark.parametrize("new_head", [False, True])
def test_save__a_head_of_two_layers_or_the_one_that_took_its_place(tmp_path: Path, new_head: bool) -> None:
    """RepViT is built with two last layers; the head that a checkpoint's new labels get has one."""
    classifier = build("repvit_m0_9", LABELS, key="student", pretrained=False, image_size=64)
    if new_head:
        two = LabelSet(("x", "y"), "nominal")
        checkpoint.save(build("repvit_m0_9", two, key="s", pretrained=False), tmp_path, CheckpointFacts(labels=two))
        classifier = build(str(tmp_path), LABELS, key="student", pretrained=True, image_size=64)
    assert len(classifier.heads) == (1 if new_head else 2)
    classifier.model.eval()
    checkpoint.save(classifier, tmp_path / "model", CheckpointFacts(labels=classifier.labels))
    by_timm = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    images = classifier.normalize(uint8_batch(1, 64))
    with torch.no_grad():
        expected = classifier.model(images)
        torch.testing.assert_close(checkpoint.load(tmp_path / "model", LABELS).model(images), expected)
        torch.testing.assert_close(by_timm(images), expected)


def test_save__can_be_fine_tuned_further(tmp_path: Path) -> None:
    classifier = saved(tmp_path / "model")
    again = build(str(tmp_path / "model"), LABELS, key="teacher", pretrained=True)
    assert again.weights_digest() == classifier.weights_digest()
    assert again.spec == classifier.spec
    fewer = build(str(tmp_path / "model"), LabelSet(("x", "y"), "nominal"), key="teacher", pretrained=True)
    assert fewer.weights_digest(backbone_only=True) == classifier.weights_digest(backbone_only=True)


@pytest.mark.parametrize(
    "labels",
    [
        LabelSet(LABELS.names[::-1], "ordinal"),
        LabelSet(LABELS.names, "nominal"),
        LabelSet(("none", "broken"), "ordinal"),
    ],
)
def test_load__another_label_set_is_refused(tmp_path: Path, labels: LabelSet) -> None:
    saved(tmp_path / "model")
    with pytest.raises(UserError, match="labels are never reindexed"):
        checkpoint.load(tmp_path / "model", labels)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, None])
def test_load__damaged_weights(tmp_path: Path, content: bytes | None) -> None:
    saved(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        checkpoint.load(tmp_path / "model", LABELS)


def test_load__a_folder_of_another_program(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    del config["pocketeva"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="was not written by PocketEVA"):
        checkpoint.load(tmp_path / "model", LABELS)
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        checkpoint.load(tmp_path / "none", LABELS)
