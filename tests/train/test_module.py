import itertools
import re

import pytest
import torch
from torch.nn import functional

from data.labels import LabelSet
from fitting.config import FitConfig
from tests.support import TWO, tiny, uint8_batch
from train.module import TeacherModule

FIT = FitConfig(epochs=1, batch_size=4, lr=0.1, weight_decay=0.05)


def test_losses__of_a_multilabel_set() -> None:
    labels = LabelSet(("a", "b", "c"), "multilabel")
    classifier = tiny("test_vit", labels, 32)
    module = TeacherModule(classifier, FIT, torch.ones(2, 3), layer_decay=1.0)
    images = uint8_batch(3, 32)
    logits = classifier.model(classifier.normalize(images)).detach()
    targets = (logits >= 0).float()
    targets[0, 0] = 1 - targets[0, 0]
    values = module.losses({"image": images, "target": targets})
    expected = 3 * functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(values["loss"], expected)
    assert values["accuracy"].mean().item() == pytest.approx(2 / 3), "one label wrong makes the image wrong"


def test_losses__with_costs() -> None:
    classifier = tiny("test_vit", TWO, 32)
    costs = [[0.0, 1.0], [6.0, 0.0]]
    batch = {"image": uint8_batch(2, 32), "target": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    plain, costly = (
        TeacherModule(classifier, FIT, torch.ones(2), 1.0, given).losses(batch)["loss"] for given in (None, costs)
    )
    p = classifier.model(classifier.normalize(batch["image"])).softmax(1)
    torch.testing.assert_close(costly - plain, (p[0, 1] + 6 * p[1, 0]) / 2)
    assert "costs" not in TeacherModule(classifier, FIT, torch.ones(2), 1.0, costs).state_dict()


def test_losses__weighted_soft_cross_entropy_and_accuracy() -> None:
    classifier = tiny("test_vit", TWO, 32)
    weights = torch.tensor([0.5, 1.5])
    module = TeacherModule(classifier, FIT, weights, layer_decay=1.0)
    batch = {"image": uint8_batch(4, 32), "target": torch.tensor([[1.0, 0.0], [0.2, 0.8], [0.0, 1.0], [0.9, 0.1]])}
    values = module.losses(batch)
    logits = classifier.model(classifier.normalize(batch["image"]))
    expected = -(weights * batch["target"] * functional.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(values["loss"], expected)
    hits = (logits.argmax(1) == torch.tensor([0, 1, 1, 0])).float().mean()
    assert values["accuracy"].mean().item() == hits.item()
    assert "class_weights" not in module.state_dict()


@pytest.mark.parametrize("name", ["test_vit", "eva02_tiny_patch14_224"])
def test_teacher_module__earlier_layers_learn_more_slowly(name: str) -> None:
    classifier = tiny(name, TWO, 112)
    module = TeacherModule(classifier, FIT, torch.ones(2), layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in module._groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in module._groups for p in group["params"]}
    parameters = dict(classifier.model.named_parameters())
    assert scale.keys() == {id(parameter) for parameter in parameters.values()}
    blocks: dict[int, set[float]] = {}
    for parameter_name, parameter in parameters.items():
        if found := re.match(r"blocks\.(\d+)\.", parameter_name):
            blocks.setdefault(int(found[1]), set()).add(scale[id(parameter)])
        if parameter.ndim <= 1 or parameter_name in ("cls_token", "pos_embed"):
            assert decay[id(parameter)] == 0, parameter_name
    rates = [blocks[index].pop() for index in range(len(blocks))]
    assert all(not rest for rest in blocks.values())
    assert all(later == pytest.approx(2 * earlier) for earlier, later in itertools.pairwise(rates))
    stem = next(p for n, p in parameters.items() if n.startswith("patch_embed"))
    assert scale[id(stem)] < rates[0] < scale[id(classifier.head.weight)] == 1.0
