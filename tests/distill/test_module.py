from typing import Any, get_args

import pytest
import torch

from data.config import Kind
from data.labels import LabelSet
from distill.config import ACROSS_IMAGES, LOSSES_FOR, Loss, StudentConfig
from distill.losses import binary_kl_divergence, distillation_loss
from distill.module import StudentModule
from fitting.config import FitConfig
from fitting.micro_batch import parts_of
from models.classifier import normalize
from models.decision import DecisionRule
from tests.support import TWO, tiny, uint8_batch
from train.losses import binary_cross_entropy

FIT = FitConfig(epochs=1, batch_size=4, lr=0.1)


def module(**settings: Any) -> StudentModule:
    classifier = tiny("test_efficientnet", TWO, 32)
    return StudentModule(classifier, StudentConfig(name="phone", fit=FIT, **settings))


def batch(student: StudentModule) -> dict[str, torch.Tensor]:
    images = uint8_batch(4, 32)
    return {
        "image": images,
        "teacher": torch.tensor([[2.0, -1.0], [0.0, 1.0], [1.0, 0.0], [3.0, 3.5]]),
        "target": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.5, 0.5]]),
        "labeled": torch.tensor([1.0, 1.0, 0.0, 1.0]),
    }


def test_student_module__its_state_is_the_students_and_nothing_else() -> None:
    student = module()
    assert {name.removeprefix("model.") for name in student.state_dict()} == set(student.model.state_dict())
    assert all(name.startswith("model.") for name in student.state_dict())


def test_losses__are_weighted_and_agree_with_themselves() -> None:
    student = module(label_weight=0.3, temperature=2.0)
    student.model.eval()
    values = student.losses(batch(student))
    assert values.keys() == {"loss", "distilled", "labels", "agreement"}
    torch.testing.assert_close(values["loss"], values["distilled"] + 0.3 * values["labels"])
    given = batch(student)
    spec = student._spec
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    with torch.no_grad():
        logits = student.model((given["image"] / 255 - mean) / std)
    hits = (logits.argmax(1) == given["teacher"].argmax(1)).float().mean()
    assert values["agreement"].item() == hits.item()
    given["teacher"] = logits
    same = student.losses(given)
    assert same["distilled"].item() == pytest.approx(0, abs=1e-6)
    assert same["agreement"].item() == 1


@pytest.mark.parametrize("name", ["kl", "standardized_kl", "dist", "dkd"])
def test_losses__by_name(name: Loss) -> None:
    student = module(loss=name, temperature=2.0, label_weight=0.0)
    student.model.eval()
    given = batch(student)
    with torch.no_grad():
        logits = student.model(normalize(given["image"], student._spec))
        expected = distillation_loss(name, DecisionRule.of(TWO))(logits, given["teacher"], 2.0)
    torch.testing.assert_close(student.losses(given)["loss"], expected)


def test_losses__labels_alone_ask_no_teacher() -> None:
    student = module(loss="labels")
    student.model.eval()
    given = batch(student)
    del given["teacher"]
    values = student.losses(given)
    assert values.keys() == {"loss", "labels"}
    with_teacher = module(label_weight=1.0)
    with_teacher.model.load_state_dict(student.model.state_dict())
    with_teacher.model.eval()
    torch.testing.assert_close(values["loss"], with_teacher.losses(batch(student))["labels"])


def test_student_module__biases_and_norms_are_not_decayed() -> None:
    student = module()
    decays = {id(p): group["weight_decay"] for group in student._groups for p in group["params"]}
    parameters = dict(student.model.named_parameters())
    assert decays.keys() == {id(parameter) for parameter in parameters.values()}
    for parameter in parameters.values():
        assert decays[id(parameter)] == (0.0 if parameter.ndim <= 1 else FIT.weight_decay)


def test_losses__of_a_multilabel_set() -> None:
    labels = LabelSet(("a", "b"), "multilabel")
    classifier = tiny("test_efficientnet", labels, 32)
    student = StudentModule(classifier, StudentConfig(name="phone", fit=FIT, label_weight=0.5, temperature=2.0))
    student.model.eval()
    given = batch(student)
    values = student.losses(given)
    with torch.no_grad():
        logits = student.model(classifier.normalize(given["image"]))
    torch.testing.assert_close(values["distilled"], binary_kl_divergence(logits, given["teacher"], 2.0))
    keep = given["labeled"].bool()
    labels_loss = binary_cross_entropy(logits, given["target"])[keep].sum() / 4
    torch.testing.assert_close(values["labels"], labels_loss)
    torch.testing.assert_close(values["loss"], values["distilled"] + 0.5 * labels_loss)
    alike = ((logits >= 0) == (given["teacher"] >= 0)).all(1).float().mean()
    assert values["agreement"].item() == alike.item()


def test_losses__costs_count_on_labeled_images() -> None:
    classifier = tiny("test_efficientnet", TWO, 32)
    config = StudentConfig(name="phone", fit=FIT)
    plain, costly = (StudentModule(classifier, config, costs) for costs in (None, [[0.0, 1.0], [6.0, 0.0]]))
    given = batch(plain)
    classifier.model.eval()
    assert costly.losses(given)["labels"].item() > plain.losses(given)["labels"].item() + 0.1
    assert costly.losses(given)["distilled"].item() == plain.losses(given)["distilled"].item()
    assert set(costly.state_dict()) == set(plain.state_dict())


@pytest.mark.parametrize("kind", LOSSES_FOR)
@pytest.mark.parametrize("name", get_args(Loss))
def test_losses__the_gradient_is_the_same_however_a_batch_is_split(kind: Kind, name: Loss) -> None:
    """But for those that compare the images of a batch, which are never split."""
    if name not in LOSSES_FOR[kind]:
        pytest.skip("not defined for these labels")
    labels = LabelSet(("a", "b", "c"), kind)
    costs: Any = None if kind == "multilabel" else [[0.0, 1, 4], [1, 0, 1], [2, 1, 0]]
    student = StudentModule(tiny("test_vit", labels, 32), StudentConfig(name="phone", fit=FIT, loss=name), costs)
    student.train()
    generator = torch.Generator().manual_seed(0)
    given: dict[str, Any] = {
        "image": uint8_batch(6, 32),
        "teacher": 3 * torch.randn(6, 3, generator=generator),
        "target": torch.eye(3).repeat(2, 1),
        "labeled": torch.tensor([1.0, 0, 1, 1, 0, 1]),
        "image_id": list("abcdef"),
    }
    gradients = []
    for size in (6, 4, 1):
        student.zero_grad()
        for _, part in parts_of(given, size):
            loss = student.losses(part)["loss"] * len(part["image_id"]) / 6
            loss.backward()  # type: ignore[no-untyped-call]
        gradients.append(
            torch.cat([weight.grad.flatten() for weight in student.parameters() if weight.grad is not None])
        )
    whole, *split = gradients
    furthest = max(float((one - whole).abs().max() / whole.abs().max()) for one in split)
    assert (furthest < 1e-4) == (student.whole == "") == (name not in ACROSS_IMAGES), furthest
