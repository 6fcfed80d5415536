"""Temperature scaling: one number that makes a model's probabilities mean what they say."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from models.outputs import cross_entropy
from models.temperature import fit_temperature
from run.files import Json


def calibrate(classifier: Classifier, logits: NDArray[np.floating], targets: NDArray[np.floating]) -> dict[str, Json]:
    """Fit the temperature and divide the head by it, so that every runtime's plain softmax or sigmoid is calibrated.

    Args:
        classifier: its head is changed in place.
        logits: what it gives on the labeled images of the calibration split [N, C].
        targets: their targets [N, C].

    Returns:
        ``n``, ``temperature``, and the cross-entropy in nats before and after.
    """
    kind = classifier.labels.kind
    temperature = fit_temperature(logits, targets, kind)
    with torch.no_grad():
        for layer in classifier.heads:
            for parameter in layer.parameters():
                parameter.div_(temperature)
    return {
        "n": len(logits),
        "temperature": temperature,
        "nll_before": cross_entropy(logits, targets, kind),
        "nll_after": cross_entropy(logits / temperature, targets, kind),
    }
