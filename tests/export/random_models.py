"""Students with random weights whose numbers stay in bounds."""

import numpy as np
import timm
import torch

from data.labels import LabelSet
from models.classifier import Classifier, size_args, spec_of
from tests import support


def settled(name: str, size: int, labels: LabelSet, seed: int = 0) -> Classifier:
    """A timm model with random weights whose batch norms have seen images: without, its logits would explode."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=len(labels), **size_args(name, size))
    classifier = Classifier(model, name, labels, spec_of(model).with_size(size).squashed())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    images = np.stack([classifier.spec.render(support.picture(90, 60, seed)) for seed in range(8)])
    with torch.no_grad():
        model.train()(torch.from_numpy(classifier.spec.normalise(images)))
    model.eval()
    return classifier
