import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch.nn import functional

from data.labels import LabelSet
from models.building import build
from models.calibration import calibrate, fit_temperature, why_uncalibrated
from models.classifier import Classifier
from models.decision import DecisionRule
from tests.support import FOUR, TWO, tiny, uint8_batch

NAMES = ("a", "b", "c", "d")
NOMINAL = DecisionRule.of(LabelSet(NAMES, "nominal"))
MULTILABEL = DecisionRule.of(LabelSet(NAMES, "multilabel"))
RULES = [NOMINAL, MULTILABEL]


def drawn(
    temperature: float, rule: DecisionRule, count: int = 20_000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits, and labels drawn from what they say once divided by ``temperature``."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (count, 4))
    if not rule.exclusive:
        return logits, (generator.random((count, 4)) < expit(logits / temperature)).astype(np.float64)
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(1) < generator.random((count, 1))).sum(1)
    return logits, np.eye(4)[labels]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_fit_temperature__finds_the_one_that_made_the_labels(temperature: float, rule: DecisionRule) -> None:
    """Where 1 made them, another does no better."""
    assert (fit_temperature(*drawn(temperature, rule), rule) or 1) == pytest.approx(temperature, rel=0.04)


def test_fit_temperature__soft_targets() -> None:
    logits, _ = drawn(1.0, NOMINAL, 500)
    assert fit_temperature(logits, softmax(logits / 3.0, axis=1), NOMINAL) == pytest.approx(3.0, rel=2e-2)
    assert fit_temperature(logits, expit(logits / 3.0), MULTILABEL) == pytest.approx(3.0, rel=2e-2)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("sign", [1, -1, 0])
def test_fit_temperature__an_optimum_at_the_edge_is_none(sign: int, scale: float, rule: DecisionRule) -> None:
    """Always right asks for no temperature at all, always wrong for an endless one, a constant for any."""
    assert fit_temperature(sign * scale * (np.eye(4) - 0.5), np.eye(4), rule) is None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_fit_temperature__none_where_every_image_is_right(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(0, scale, (40, 4)).astype(np.float32)
    right = np.eye(4, dtype=np.float32)[logits.argmax(1)]
    assert fit_temperature(logits, right, NOMINAL) is None
    assert fit_temperature(logits, (logits > 0).astype(np.float32), MULTILABEL) is None


def soft(logits: NDArray[np.float64], temperature: float, rule: DecisionRule) -> NDArray[np.float64]:
    """Targets that this temperature makes of logits."""
    scaled = logits / temperature
    return np.asarray(softmax(scaled, axis=1) if rule.exclusive else expit(scaled))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("temperature", "within"), [(0.03, False), (0.06, True), (15.0, True), (20.5, False)])
def test_fit_temperature__looks_as_far_as_the_bounds(temperature: float, within: bool, rule: DecisionRule) -> None:
    logits = np.random.default_rng(0).normal(0, 4 * temperature, (2000, 4))
    fitted = fit_temperature(logits, soft(logits, temperature, rule), rule)
    assert (fitted is not None) == within
    assert fitted is None or fitted == pytest.approx(temperature, rel=0.02)


@pytest.mark.parametrize("rule", RULES)
def test_fit_temperature__is_the_likeliest_under_the_prior(rule: DecisionRule) -> None:
    """Of a grid: half and double are one standard deviation from 1."""
    logits, targets = drawn(3.0, rule, 30)
    grid = np.geomspace(0.5, 10, 4000)
    losses = [30 * rule.cross_entropy(logits / t, targets) + np.log2(t) ** 2 / 2 for t in grid]
    assert fit_temperature(logits, targets, rule) == pytest.approx(grid[np.argmin(losses)], rel=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_fit_temperature__two_images_may_tell_one_and_one_may_not(rule: DecisionRule) -> None:
    logits = 3 * np.eye(4)[:2]
    targets = soft(logits, 2.0, rule)
    assert 1 < (fit_temperature(logits, targets, rule) or 0) < 2
    assert fit_temperature(logits[:1], targets[:1], rule) is None


def test_fit_temperature__one_image_says_nothing() -> None:
    for label in range(2):
        assert fit_temperature(np.array([[2.0, 0.0]]), np.eye(2)[[label]], DecisionRule.of(TWO)) is None


def two_logits(margins: NDArray[np.float64], wrong: int) -> NDArray[np.float64]:
    """Logits of images of the first label, of which the first so many are wrong, each by its margin."""
    signed = margins * np.where(np.arange(len(margins)) < wrong, -1, 1)
    return np.stack([signed, 0 * signed], 1)


@pytest.mark.parametrize("margin", [0.6, 1, 2, 3, 5])
@pytest.mark.parametrize("wrong", [0, 1, 2, 4])
def test_fit_temperature__does_no_worse_where_one_in_ten_is_wrong(margin: float, wrong: int) -> None:
    """Of 40 images, one in ten should be wrong; by luck it may be fewer, and none is wrong in a perfect split."""
    rule = DecisionRule.of(TWO)
    targets = np.eye(2)[[0] * 40]
    margins = np.abs(np.random.default_rng(1).normal(margin, margin / 2, 40))
    fitted = fit_temperature(two_logits(margins, wrong), targets, rule)
    unseen = two_logits(margins, 4)
    assert rule.cross_entropy(unseen / (fitted or 1), targets) <= rule.cross_entropy(unseen, targets)
    if not wrong:
        assert fitted is None


def test_why_uncalibrated__a_fit_that_does_no_better_elsewhere() -> None:
    margins = np.abs(np.random.default_rng(1).normal(2, 1, 40))
    logits, targets, rule = two_logits(margins, 1), np.eye(2)[[0] * 40], DecisionRule.of(TWO)
    assert fit_temperature(logits, targets, rule) is None
    assert why_uncalibrated(logits, targets, rule) == (
        "is right on 39 of 40 validation images; a temperature of 0.61 fits best there, and does no better on images "
        "left out of its fit"
    )


def test_why_uncalibrated__scores_so_large_that_nothing_is_left_to_gain() -> None:
    said = why_uncalibrated(1e4 * np.eye(4), np.eye(4), NOMINAL)
    assert said == "is right on all 4 validation images, and no temperature fits best there"


def test_why_uncalibrated__votes_that_tie() -> None:
    said = why_uncalibrated(np.array([[2.0, 0.0]]), np.array([[0.5, 0.5]]), DecisionRule.of(TWO))
    assert said == "has only tied votes, and no temperature fits best there"


def test_fit_temperature__a_prior_holds_it_near_one() -> None:
    """Few images move it little, many move it all the way."""
    few, many = (fit_temperature(*drawn(6.0, NOMINAL, count), NOMINAL) for count in (30, 20_000))
    assert few is not None
    assert 1.5 < few < 5.5
    assert many == pytest.approx(6, rel=0.04)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([0, 0, 0], "is right on all 3 validation images"),
        ([0, 0], "is right on all 2 validation images"),
        ([0, 1, 1], "is right on 1 of 3 validation images"),
        ([1], "is right on 0 of 1 validation image"),
        ([0], "is right on the one validation image"),
    ],
)
def test_calibrate__without_an_optimum_the_head_stays_and_says_why(targets: list[int], words: str) -> None:
    classifier = tiny()
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    logits = np.tile([2.0, 0.0], (len(targets), 1))
    found = calibrate(classifier, logits, np.eye(2)[targets])
    assert found.temperature == 1.0
    assert found.nll_after == found.nll_before
    assert found.uncalibrated == f"{words}, and no temperature fits best there"
    for name, value in classifier.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_calibrate__divides_the_models_logits() -> None:
    classifier = tiny()
    images = classifier.normalize(uint8_batch(64, 32))
    with torch.no_grad():
        classifier.head.bias.copy_(torch.tensor([0.3, -0.2]))
        before = classifier.model(images)
        targets = (before / 3).softmax(1)
        fitted = calibrate(classifier, before.numpy(), targets.numpy())
        after = classifier.model(images)
    assert fitted.temperature == pytest.approx(3.0, rel=0.2)
    assert fitted.n == 64
    assert fitted.uncalibrated is None
    torch.testing.assert_close(after, before / fitted.temperature)
    assert fitted.nll_before == pytest.approx(functional.cross_entropy(before, targets).item(), rel=1e-5)
    assert fitted.nll_after == pytest.approx(functional.cross_entropy(after, targets).item(), rel=1e-5)
    assert fitted.nll_after < fitted.nll_before


def test_calibrate__a_multilabel_set_has_one_temperature_for_its_sigmoids() -> None:
    classifier = tiny(labels=LabelSet(("a", "b", "c"), "multilabel"))
    images = classifier.normalize(uint8_batch(64, 32))
    with torch.no_grad():
        before = classifier.model(images)
        targets = (before / 2).sigmoid()
        fitted = calibrate(classifier, before.numpy(), targets.numpy())
        after = classifier.model(images)
    assert fitted.temperature == pytest.approx(2.0, rel=0.2)
    expected = 3 * functional.binary_cross_entropy_with_logits(after, targets).item()
    assert fitted.nll_after == pytest.approx(expected, rel=1e-5)


def headed(name: str, size: int | None) -> Classifier:
    torch.manual_seed(0)
    classifier = build(name, FOUR, key="student", pretrained=False, image_size=size)
    for layer in classifier.heads:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    classifier.model.eval()
    return classifier


@pytest.mark.parametrize(
    ("name", "size", "count"), [("repvit_m0_9", 64, 2), ("levit_128s", None, 2), ("efficientformerv2_s0", None, 2)]
)
def test_calibrate__every_layer_that_gives_logits_is_divided(name: str, size: int | None, count: int) -> None:
    classifier = headed(name, size)
    assert len(classifier.heads) == count
    images = classifier.normalize(uint8_batch(2, classifier.spec.size))
    with torch.no_grad():
        before = classifier.model(images)
        fitted = calibrate(classifier, before.numpy(), (before / 4).softmax(1).numpy())
        after = classifier.model(images)
    assert 1.05 < fitted.temperature < 4.0
    torch.testing.assert_close(after, before / fitted.temperature, rtol=1e-4, atol=1e-5)
    assert np.isfinite(after.numpy()).all()
