import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bernoulli, entropy
from torch.nn import functional

from data.config import Kind
from data.labels import THRESHOLD
from models.outputs import cross_entropy, decisions, divergence, probabilities, problem_type, same

GENERATOR = torch.Generator().manual_seed(0)
LOGITS, OTHER = (torch.randn(9, 5, generator=GENERATOR, dtype=torch.float64) * 3 for _ in range(2))
SOFT = torch.rand(9, 5, generator=GENERATOR, dtype=torch.float64)


def test_probabilities__softmax_without_overflow() -> None:
    logits = np.array([[0, np.log(3)], [2000, -2000]], np.float32)
    np.testing.assert_allclose(probabilities(logits, "nominal"), np.array([[0.25, 0.75], [1.0, 0.0]]), atol=1e-6)


def test_probabilities__a_sigmoid_each_without_overflow() -> None:
    logits = np.array([[0, np.log(3)], [2000, -2000]], np.float32)
    given = probabilities(logits, "multilabel")
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, np.array([[0.5, 0.75], [1.0, 0.0]]), atol=1e-6)


def test_decisions__the_likeliest_label() -> None:
    assert decisions(np.array([[0.4, 0.35, 0.25], [0.0, 0.0, 1.0]]), "ordinal").tolist() == [0, 2]


def test_decisions__every_label_from_the_threshold_on() -> None:
    given = decisions(np.array([[THRESHOLD, 0.49, 0.9], [0.1, 0.2, 0.3]]), "multilabel")
    assert given.tolist() == [[True, False, True], [False, False, False]]


def test_same__of_a_set_every_label_counts() -> None:
    assert same(np.array([0, 1, 2]), np.array([0, 2, 2])).tolist() == [True, False, True]
    left, right = np.array([[True, False], [False, False]]), np.array([[True, True], [False, False]])
    assert same(left, right).tolist() == [False, True]


def test_cross_entropy__is_torchs() -> None:
    logits, targets = LOGITS * 10, SOFT.softmax(1)
    expected = functional.cross_entropy(logits, targets).item()
    assert cross_entropy(logits.numpy(), targets.numpy(), "nominal") == pytest.approx(expected, rel=1e-12)
    expected = 5 * functional.binary_cross_entropy_with_logits(logits, SOFT).item()
    assert cross_entropy(logits.numpy(), SOFT.numpy(), "multilabel") == pytest.approx(expected, rel=1e-12)


def test_divergence__is_scipys_relative_entropy() -> None:
    q, p = (probabilities(logits.numpy(), "nominal") for logits in (LOGITS, OTHER))
    expected = entropy(p, q, axis=1).mean()
    assert divergence(LOGITS.numpy(), OTHER.numpy(), "nominal") == pytest.approx(expected, rel=1e-9)
    q, p = (probabilities(logits.numpy(), "multilabel") for logits in (LOGITS, OTHER))
    coins = [entropy([[1 - b, b] for b in p[row]], [[1 - a, a] for a in q[row]], axis=1).sum() for row in range(9)]
    assert divergence(LOGITS.numpy(), OTHER.numpy(), "multilabel") == pytest.approx(np.mean(coins), rel=1e-9)
    assert bernoulli(0.5).entropy() == pytest.approx(cross_entropy(np.zeros((1, 1)), np.ones((1, 1)), "multilabel"))


@pytest.mark.parametrize("kind", ["nominal", "multilabel"])
def test_divergence__is_zero_at_equality_and_finite_where_one_is_sure(kind: Kind) -> None:
    sure = np.array([[900.0, -900.0]])
    assert divergence(sure, sure, kind) == 0
    assert 0 < divergence(-sure, sure, kind) < np.inf


def test_problem_type__only_where_softmax_would_be_wrong() -> None:
    assert problem_type("multilabel") == {"problem_type": "multi_label_classification"}
    assert problem_type("ordinal") == problem_type("nominal") == {}


def test_module__needs_no_torch() -> None:
    script = "import sys, models.outputs, models.temperature; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
