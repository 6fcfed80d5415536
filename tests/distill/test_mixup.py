from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from data.config import Kind
from data.labels import LabelSet
from distill.losses import labeled_loss
from distill.mixup import blended, draw
from models.decision import DecisionRule
from tests.support import uint8_batch

TARGETS: dict[Kind, torch.Tensor] = {
    "nominal": torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0.2, 0.3, 0.5], [0, 0, 0]]),
    "multilabel": torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 0]]),
}
PARTNERS = torch.tensor([2, 3, 0, 1, 4])


def batch(kind: Kind = "nominal") -> dict[str, Any]:
    """Five examples, the third and the last without a label."""
    return {
        "image": uint8_batch(5, 8),
        "teacher_image": uint8_batch(5, 12, seed=1),
        "target": TARGETS[kind],
        "labeled": torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]),
        "image_id": list("abcde"),
    }


def test_draw__is_named_by_its_key_and_follows_beta() -> None:
    share, partners = draw(0.4, 6, (1, 2, 3))
    again = draw(0.4, 6, (1, 2, 3))
    assert share == again[0]
    assert torch.equal(partners, again[1])
    assert sorted(partners.tolist()) == list(range(6))
    shares = [draw(0.4, 6, (1, 2, number))[0] for number in range(2000)]
    assert len(set(shares)) == 2000
    assert kstest(shares, "beta", (0.4, 0.4)).pvalue > 0.01
    assert draw(1e-3, 6, (0,))[0] == pytest.approx(round(draw(1e-3, 6, (0,))[0]), abs=1e-3)


def test_blended__every_render_with_the_same_share_and_partner() -> None:
    given = batch()
    result = blended(given, 0.3, PARTNERS)
    assert result.keys() == {"image", "teacher_image", "target", "labeled"}
    for key in ("image", "teacher_image"):
        images = given[key].numpy().astype(np.float64)
        expected = 0.3 * images + 0.7 * images[PARTNERS.numpy()]
        np.testing.assert_allclose(result[key].numpy(), expected, atol=1e-4)
    assert "teacher_image" not in blended({k: v for k, v in given.items() if k != "teacher_image"}, 0.3, PARTNERS)


@pytest.mark.parametrize("kind", ["nominal", "multilabel"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_blended__the_labels_loss_is_the_blend_of_losses(kind: Kind, share: float) -> None:
    given = batch(kind)
    rule = DecisionRule.of(LabelSet(("a", "b", "c"), kind))
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    costs = torch.tensor([[0.0, 1, 2], [3, 0, 1], [9, 4, 0]]) if kind == "nominal" else None

    def loss(target: torch.Tensor, labeled: torch.Tensor) -> torch.Tensor:
        return labeled_loss(logits, target, labeled, rule, costs)

    result = blended(given, share, PARTNERS)
    own = loss(given["target"], given["labeled"])
    partners = loss(given["target"][PARTNERS], given["labeled"][PARTNERS])
    torch.testing.assert_close(loss(result["target"], result["labeled"]), share * own + (1 - share) * partners)
    assert result["labeled"][4] == 0, "nobody has a label there"
    assert torch.isfinite(result["target"]).all()
