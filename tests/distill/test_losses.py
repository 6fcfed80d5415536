import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch.nn import functional

from distill.losses import kl_divergence, labelled_cross_entropy

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64) * 3 for _ in range(2))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_divergence__is_scipys_relative_entropy(temperature: float) -> None:
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (TEACHER, STUDENT))
    expected = entropy(p, q, axis=1).mean() * temperature**2
    assert kl_divergence(STUDENT, TEACHER, temperature).item() == pytest.approx(expected, rel=1e-9)


def test_kl_divergence__by_hand() -> None:
    teacher, student = torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.8, 0.2]]))
    expected = 0.5 * torch.log(torch.tensor(0.5 / 0.8)) + 0.5 * torch.log(torch.tensor(0.5 / 0.2))
    torch.testing.assert_close(kl_divergence(student, teacher, 1.0), expected)


def test_kl_divergence__is_zero_at_equality_and_up_to_a_shift() -> None:
    assert kl_divergence(TEACHER, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-12)
    assert kl_divergence(TEACHER + 7.0, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-9)


def test_kl_divergence__temperature_keeps_the_gradients_size() -> None:
    """For mild logits the gradient is that of mean (q - p)^2 / 2C, whatever T is."""
    sizes = []
    for temperature in (1.0, 4.0, 16.0):
        student = (STUDENT / 100).requires_grad_()
        (gradient,) = torch.autograd.grad(kl_divergence(student, TEACHER / 100, temperature), student)
        sizes.append(gradient.norm().item())
    assert sizes == pytest.approx([sizes[0]] * 3, rel=0.05)


def test_labelled_cross_entropy__unlabelled_images_add_nothing() -> None:
    target = torch.eye(4, dtype=torch.float64)[:3].repeat(2, 1)
    labelled = torch.tensor([1.0, 0, 1, 0, 0, 1], dtype=torch.float64)
    logits = STUDENT.clone().requires_grad_()
    loss = labelled_cross_entropy(logits, target, labelled)
    keep = labelled.bool()
    expected = functional.cross_entropy(STUDENT[keep], target[keep], reduction="sum") / 6
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~keep] == 0).all()
    assert (gradient[keep] != 0).any(1).all()


def test_labelled_cross_entropy__takes_distributions() -> None:
    target = torch.tensor([[0.25, 0.75]])
    logits = torch.log(torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(labelled_cross_entropy(logits, target, torch.ones(1)), torch.log(torch.tensor(2.0)))
