"""The best head against scikit-learn's, on its digits."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from data.config import Kind
from data.labels import LabelSet
from fitting.history import Epoch, best_of
from models.decision import DecisionRule
from run.errors import UserError
from train import optimum
from train.config import HeadConfig
from train.losses import class_weights, label_loss
from train.optimum import Images, Scaling, solve

DIGITS = load_digits()
NAMES = tuple(map(str, range(10)))
FIRM = HeadConfig(weight_decays=(1e-3,), max_steps=2000)


def images(count: int = 300, start: int = 0, views: int = 1) -> Images:
    """Pixels of digits as features; further views have some noise."""
    pixels = DIGITS.data[start : start + count, None].repeat(views, 1)
    noise = np.random.default_rng(start).normal(0, 1, pixels.shape)
    noise[:, 0] = 0
    return Images(pixels + noise, np.eye(10, dtype=np.float32)[DIGITS.target[start : start + count]])


def rule(kind: Kind = "nominal") -> DecisionRule:
    return DecisionRule.of(LabelSet(NAMES, kind))


def solved(
    learned: Images,
    config: HeadConfig = FIRM,
    kind: Kind = "nominal",
    weighting: str = "none",
    costs: Any = None,
    head: nn.Linear | None = None,
    held_out: Images | None = None,
    **options: bool,
) -> tuple[nn.Linear, list[Epoch]]:
    """A head for these images, and its path; it is validated on others."""
    torch.manual_seed(0)
    layer = head or nn.Linear(learned.features.shape[2], 10)
    weights = class_weights(learned.targets, weighting, rule(kind).labels).double()
    loss = partial(label_loss, rule=rule(kind), weights=weights, costs=costs)
    return layer, solve(layer, config, learned, held_out or images(200, 900), loss, rule(kind), **options)


def logits(head: nn.Linear, given: Images) -> NDArray[np.float32]:
    with torch.no_grad():
        found: NDArray[np.float32] = head(torch.from_numpy(given.features[:, 0]).float()).numpy()
    return found


def peer(learned: Images, decay: float, **options: Any) -> LogisticRegression:
    """scikit-learn's optimum for scaled features."""
    rows, targets = (torch.cat(part).numpy() for part in zip(*Scaling.of(learned).scaled(learned), strict=True))
    model = LogisticRegression(C=1 / (decay * len(rows)), max_iter=5000, tol=1e-8, **options)
    which, labels = np.nonzero(targets)
    return model.fit(rows[which].astype(np.float64), labels, sample_weight=targets[which, labels])


def expected(learned: Images, given: Images, **options: Any) -> NDArray[np.float64]:
    """Probabilities by ``peer``."""
    rows = torch.cat([part for part, _ in Scaling.of(learned).scaled(given)]).numpy()
    found: NDArray[np.float64] = peer(learned, FIRM.weight_decays[0], **options).predict_proba(rows)
    return found


def soft(given: Images) -> Images:
    """The same, every label shared with its neighbor."""
    return Images(given.features, 0.7 * given.targets + 0.3 * np.roll(given.targets, 1, 1))


@pytest.mark.parametrize(
    ("learned", "options", "weighting"),
    [
        (images(), {}, "none"),
        (images(views=3), {}, "none"),
        (soft(images()), {}, "none"),
        (images(), {"class_weight": "balanced"}, "balanced"),
    ],
    ids=["plain", "views", "soft targets", "class weights"],
)
def test_solve__equals_scikit_learn(learned: Images, options: Mapping[str, Any], weighting: str) -> None:
    head, _ = solved(learned, weighting=weighting)
    found = rule().probabilities(logits(head, images(200, 900)))
    np.testing.assert_allclose(found, expected(learned, images(200, 900), **options), atol=2e-4)


def test_solve__a_multilabel_set_is_a_problem_for_each_label() -> None:
    learned = images(200)
    targets = np.concatenate([learned.targets[:, 5:], learned.targets[:, :5]], 1) + learned.targets
    head, path = solved(Images(learned.features, targets), kind="multilabel")
    assert path[0].shares.keys() == {"accuracy"}
    rows = torch.cat([part for part, _ in Scaling.of(learned).scaled(learned)]).numpy()
    peer = LogisticRegression(C=1 / (FIRM.weight_decays[0] * 200), max_iter=5000, tol=1e-8).fit(rows, targets[:, 3])
    np.testing.assert_allclose(logits(head, learned)[:, 3], peer.decision_function(rows), atol=2e-3)


def test_solve__costs_move_decisions_to_the_cheaper_side() -> None:
    learned = images(200, views=2)
    plain, _ = solved(learned, kind="ordinal")
    costly, _ = solved(learned, kind="ordinal", costs=torch.tril(torch.full((10, 10), 9.0, dtype=torch.float64), -1))
    said = [logits(head, images(300, 1200)).argmax(1).mean() for head in (plain, costly)]
    assert said[1] > said[0] + 0.1


def test_solve__takes_the_weight_decay_of_the_lowest_loss_and_stops_after_it() -> None:
    decays = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    learned = images(100)
    head, path = solved(learned, HeadConfig(weight_decays=decays, max_steps=500))
    losses = [point.val_loss or 9 for point in path]
    best = int(np.argmin(losses))
    assert 0 < best == len(path) - 3, "two more were tried"
    assert [point.weight_decay for point in path] == list(decays[: len(path)])
    held = images(200, 900)
    assert rule().cross_entropy(logits(head, held), held.targets) == pytest.approx(losses[best], rel=1e-5)
    assert rule().cross_entropy(logits(head, learned), learned.targets) == pytest.approx(best_of(path).train_loss, 1e-5)
    assert best_of(path).shares["accuracy"] == (logits(head, held).argmax(1) == held.targets.argmax(1)).mean()
    assert path[0].val_loss == pytest.approx(np.log(10), rel=0.05), "so strong that the labels' shares are all it knows"
    assert all(point.steps for point in path)


def test_solve__in_chunks_as_in_one_and_read_again_as_held(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = images(300, views=2)
    whole, _ = solved(learned)
    monkeypatch.setattr(optimum, "CHUNK", 64)
    held, _ = solved(learned)
    monkeypatch.setattr(optimum, "HELD_BYTES", 0)
    read, _ = solved(learned)
    assert torch.equal(read.weight, held.weight)
    assert torch.equal(read.bias, held.bias)
    np.testing.assert_allclose(logits(held, learned), logits(whole, learned), atol=2e-3)


def test_solve__the_same_bytes_twice() -> None:
    first, second = (solved(images(views=2))[0] for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_solve__features_that_never_or_hardly_vary() -> None:
    learned = images()
    constant = np.full((300, 1, 1), 60_000.0)
    rare = np.zeros((300, 1, 1))
    rare[7] = 1e-3
    features = np.concatenate([learned.features, constant, rare], 2)
    held = Images(features[200:], learned.targets[200:])
    head, _ = solved(Images(features, learned.targets), HeadConfig(patience=99), held_out=held)
    assert torch.isfinite(head.weight).all()
    assert head.weight[:, 64].abs().max() == 0
    effect = (head.weight[:, 65] * 1e-3).abs().max()
    assert effect < 1e-3, "one image in 300 is not told by it"


def test_solve__features_that_say_nothing_leave_the_shares_of_the_labels() -> None:
    learned = Images(np.ones((300, 1, 64)), images().targets)
    head, _ = solved(learned)
    np.testing.assert_allclose(rule().probabilities(logits(head, learned))[0], learned.targets.mean(0), atol=1e-4)


def test_solve__a_label_of_one_image() -> None:
    learned = images()
    keep = (learned.targets[:, 0] == 0) | (learned.targets[:, 0].cumsum() == 1)
    head, _ = solved(Images(learned.features[keep], learned.targets[keep]), HeadConfig(), weighting="balanced")
    assert torch.isfinite(head.weight).all()


def test_solve__a_head_that_knows_the_labels_is_kept_where_images_say_little() -> None:
    knows, _ = solved(images(900))
    before = logits(knows, images(200, 900))
    strong = HeadConfig(weight_decays=(1e4,), max_steps=200)
    solved(images(60, 1200), strong, head=knows, keep=True)
    after = logits(knows, images(200, 900))
    moved = (after - before) - (after - before).mean(0)
    assert np.abs(moved).max() < 1e-2, "all but the bias is as it was"
    solved(images(60, 1200), strong, head=knows)
    assert np.abs(logits(knows, images(200, 900)) - logits(knows, images(200, 900)).mean(0)).max() < 1e-2


def test_solve__a_loss_that_is_no_number_changes_nothing() -> None:
    head = nn.Linear(64, 10)
    before = head.weight.detach().clone()
    costs = torch.full((10, 10), torch.inf, dtype=torch.float64)
    with pytest.raises(UserError, match=r"no number at any weight decay; look at labels\.costs"):
        solved(images(), head=head, costs=costs)
    assert torch.equal(head.weight, before)


def test_scaling__is_folded_into_the_layer() -> None:
    learned = images(50, views=2)
    scaling = Scaling.of(learned)
    rows = torch.cat([part for part, _ in scaling.scaled(learned)])
    assert rows.mean(0).abs().max() < 1e-5
    assert 0.25 < rows.square().sum(1).mean() <= 1
    layer = torch.randn(10, 64, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    weight, bias = scaling.fold(layer)
    plain = torch.from_numpy(learned.features[:]).reshape(-1, 64)
    torch.testing.assert_close(plain @ weight.T + bias, rows.double() @ layer[0].T + layer[1], atol=1e-4, rtol=1e-4)
    for found, given in zip(scaling.unfold((weight, bias)), layer, strict=True):
        torch.testing.assert_close(found, given)
