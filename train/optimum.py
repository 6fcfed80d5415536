"""The best last layer for cached features: the optimum at each weight decay of a path, and the one that validates best.

On frozen features the loss is convex in the last layer (what ``labels.costs`` adds is not, quite), so each weight decay
has its optimum and nothing else is to be tuned. They are gone through from strong to weak with warm starts, as in the
protocols of linear probes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.loaders import ViewValues
from fitting.history import Epoch
from models.decision import DecisionRule
from run.console import progress
from run.errors import UserError
from train.config import HeadConfig

CHUNK = 16_384
"""Image views that are gone through at a time."""
HELD_BYTES = 2**32
"""More features and targets than this are read again for every evaluation of the loss."""
TOLERANCE = 1e-6
"""Largest part of the gradient at which an optimum is reached."""

Layer = tuple[Tensor, Tensor]
"""Weight [C, D] and bias [C] in float64."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits and targets [B, C], and gives a value per image [B]."""


@dataclass(frozen=True)
class Images:
    """Cached features of labeled images."""

    features: ViewValues
    """[rows, views, D]."""
    targets: NDArray[np.float32]
    """[rows, C]."""

    def chunks(self) -> Iterator[Layer]:
        """Features [B, D] in float32 and targets [B, C] of all views of some rows."""
        rows, views, width = self.features.shape
        step = max(1, CHUNK // views)
        for start in range(0, rows, step):
            # A copy in PyTorch's memory: NumPy's starts at any 16 bytes, and matrix products of other alignments differ
            # in their last bits, so that a head would not be the same bit for bit from one process to the next.
            features = torch.tensor(self.features[start : start + step], dtype=torch.float32)
            targets = torch.tensor(self.targets[start : start + step], dtype=torch.float64)
            yield features.view(-1, width), targets.repeat_interleave(views, 0)


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of each feature [D], in float64."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, images: Images) -> "Scaling":
        """That of all views, by which an image's squared length becomes a half or so.

        A feature's own variance and the mean of all count alike, so that one which hardly varies is not made as large
        as those that tell something.
        """
        rows, views, width = images.features.shape
        total, squares = torch.zeros(2, width, dtype=torch.float64)
        for features, _ in images.chunks():
            total += features.sum(0, dtype=torch.float64)
        mean = total / (rows * views)
        for features, _ in images.chunks():
            squares += (features.double() - mean).square().sum(0)
        variance = squares / (rows * views)
        scale = ((variance + variance.mean()) * width).sqrt()
        return cls(mean, torch.where(scale > 0, scale, 1.0))

    def scaled(self, images: Images) -> Iterator[Layer]:
        """``Images.chunks`` with scaled features."""
        mean, scale = self.mean.float(), self.scale.float()
        return ((features.sub_(mean).div_(scale), targets) for features, targets in images.chunks())

    def fold(self, layer: Layer) -> Layer:
        """The layer that does to features as they are what this one does to scaled ones."""
        weight, bias = layer[0] / self.scale, layer[1]
        return weight, bias - weight @ self.mean

    def unfold(self, layer: Layer) -> Layer:
        """The other way."""
        return layer[0] * self.scale, layer[1] + layer[0] @ self.mean


class Objective:
    """The mean loss of a layer over all views of images; few are held in memory."""

    def __init__(self, images: Images, scaling: Scaling, loss: Loss) -> None:
        rows, views, width = images.features.shape
        self._images = rows * views
        self._loss = loss
        self._chunks: Callable[[], Iterator[Layer]] = partial(scaling.scaled, images)
        if self._images * (4 * width + 8 * images.targets.shape[1]) <= HELD_BYTES:
            self._chunks = list(self._chunks()).__iter__

    def __call__(self, layer: Layer) -> float:
        """The loss; its gradient is added to that of a layer that requires one."""
        found = 0.0
        for logits, targets in self.logits(layer):
            loss = self._loss(logits, targets).sum() / self._images
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            found += loss.item()
        return found

    def logits(self, layer: Layer) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets [B, C] of some rows at a time."""
        weight, bias = layer
        for features, targets in self._chunks():
            # The product in float32, sums after it in float64, so that a line search sees the smallest progress.
            yield (features @ weight.float().T).double() + bias, targets


def solve(
    head: nn.Linear,
    config: HeadConfig,
    learned: Images,
    held_out: Images,
    loss: Loss,
    rule: DecisionRule,
    *,
    keep: bool = False,
) -> list[Epoch]:
    """Give a head the optimum of the weight decay with the lowest loss on held-out images.

    What is minimized is loss + decay / 2 · ‖W - W₀‖², with the features scaled (``Scaling``) and the bias free.

    Args:
        head: changed in place.
        keep: W₀ is the head as it is, which knows these labels; otherwise it is zero.

    Returns:
        What each weight decay came to, from the first one on.

    Raises:
        UserError: the loss was a number at none of them.
    """
    scaling = Scaling.of(learned)
    objective, validation = (Objective(part, scaling, loss) for part in (learned, held_out))
    given = head.weight.detach().cpu().double(), head.bias.detach().cpu().double()  # some GPUs have no float64
    origin = scaling.unfold(given) if keep else (torch.zeros_like(given[0]), torch.zeros_like(given[1]))
    layer = origin[0].clone().requires_grad_(), origin[1].clone().requires_grad_()
    path: list[Epoch] = []
    best, lowest, since = None, math.inf, 0
    with progress("solving the teacher's head", len(config.weight_decays)) as advance:
        for decay in config.weight_decays:
            steps = _minimize(objective, layer, origin[0], decay, config.max_steps)
            found = layer[0].detach().clone(), layer[1].detach().clone()
            val_loss = validation(found)
            shares = _shares(rule, validation.logits(found))
            train, val = (value if math.isfinite(value) else None for value in (objective(found), val_loss))
            path.append(Epoch(train_loss=train, val_loss=val, shares=shares, weight_decay=decay, steps=steps))
            advance(1)
            since += 1
            if val_loss < lowest:
                best, lowest, since = found, val_loss, 0
            if since >= config.patience:
                break
    if best is None:
        raise UserError("teacher head: the validation loss was no number at any weight decay; look at labels.costs")
    with torch.no_grad():
        for parameter, values in zip((head.weight, head.bias), scaling.fold(best), strict=True):
            parameter.copy_(values.float())
    return path


def _minimize(objective: Objective, layer: Layer, origin: Tensor, decay: float, most: int) -> int:
    """Bring a layer to its optimum by L-BFGS; gives the number of steps."""
    optimizer = torch.optim.LBFGS(
        layer,
        max_iter=most,
        max_eval=2 * most,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_grad=TOLERANCE,
    )

    def evaluate() -> float:
        optimizer.zero_grad()
        penalty = decay / 2 * (layer[0] - origin).square().sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        return penalty.item() + objective(layer)

    optimizer.step(evaluate)  # type: ignore[no-untyped-call]
    return int(optimizer.state[layer[0]]["n_iter"])


def _shares(rule: DecisionRule, judged: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Accuracy, and where labels exclude each other macro F1, without images whose votes tie."""
    logits, targets = (torch.cat(part).float().numpy() for part in zip(*judged, strict=True))
    told = rule.labels.has_truth(targets)
    said, true = rule.decide(rule.probabilities(logits[told])), rule.labels.truth(targets[told])
    if not len(true):
        return {}
    accuracy = {"accuracy": float(rule.same(said, true).mean())}
    if not rule.exclusive:
        return accuracy
    hits, calls, images = (np.bincount(part, minlength=len(rule.labels)) for part in (true[said == true], said, true))
    return {**accuracy, "macro_f1": float((2 * hits / (calls + images).clip(min=1))[images > 0].mean())}
