"""A timm model with its label set and input contract, split into backbone and head."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from data.labels import LabelSet
from models.spec import InputSpec
from run.errors import UserError


@dataclass(frozen=True)
class Classifier:
    """A model, what its outputs mean and what it takes."""

    model: nn.Module
    architecture: str
    labels: LabelSet
    spec: InputSpec
    revision: str | None = None
    """Commit of the repository on the Hub that its weights came from; null where they came from elsewhere."""
    keeps_head: bool = False
    """Its head came with its weights, for these very labels."""

    @property
    def head(self) -> nn.Linear:
        """The last layer, from features to logits, where there is but one and nothing else between."""
        head = self.model.get_classifier()  # type: ignore[operator]
        if not isinstance(head, nn.Linear):
            raise UserError(f"{self.architecture} does not end in one linear layer; choose a model that does")
        return head

    @property
    def heads(self) -> list[nn.Linear]:
        """Every layer that gives logits: RepViT, LeViT and EfficientFormer take the mean of two."""
        found = self.model.get_classifier()  # type: ignore[operator]
        modules = [inner for part in (found if isinstance(found, tuple) else [found]) for inner in part.modules()]
        last = [inner for inner in modules if isinstance(inner, nn.Linear) and inner.out_features == len(self.labels)]
        if not last:
            raise UserError(f"{self.architecture} does not end in linear layers; choose a model that does")
        return last

    @property
    def feature_width(self) -> int:
        """Length of the feature vector that the head takes."""
        return self.heads[0].in_features

    def features(self, images: Tensor) -> Tensor:
        """Features [B, D] that the head takes, for normalized images [B, 3, S, S]."""
        model: Any = self.model
        features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
        return features

    def normalize(self, images: Tensor) -> Tensor:
        """``InputSpec.normalize`` for uint8 tensors [B, 3, S, S], on their device."""
        return normalize(images, self.spec)

    def weights_digest(self, *, backbone_only: bool = False) -> str:
        """SHA-256 over the names and bytes of all weights, or of those before the head."""
        # By identity: the head's name differs from architecture to architecture.
        head = {id(parameter) for parameter in self.head.parameters()} if backbone_only else set()
        named = self.model.state_dict(keep_vars=True)
        total = hashlib.sha256(self.architecture.encode())
        # Sorted: the order of a state dict is no property of the weights.
        for name in sorted(name for name, tensor in named.items() if id(tensor) not in head):
            total.update(name.encode())
            total.update(named[name].detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()


def normalize(images: Tensor, spec: InputSpec) -> Tensor:
    """``InputSpec.normalize`` for uint8 tensors [B, 3, S, S], on their device."""
    mean = images.new_tensor(spec.mean, dtype=torch.float32).view(3, 1, 1)
    std = images.new_tensor(spec.std, dtype=torch.float32).view(3, 1, 1)
    return (images.float() / 255 - mean) / std
