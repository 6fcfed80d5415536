"""Models with random weights whose numbers stay in bounds, and files of them."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import timm
import torch

from data.labels import LabelSet
from export.metadata import describe
from export.onnx_file import write_onnx
from models.building import size_args, spec_of
from models.classifier import Classifier
from models.spec import InputSpec
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
        model.train()(torch.from_numpy(classifier.spec.normalize(images)))
    model.eval()
    return classifier


def exported(folder: Path, labels: LabelSet, spec: InputSpec, architecture: str = "test_vit") -> Path:
    """A small ``model.onnx`` whose scores are neither all alike nor all 0 and 1.

    What labels mean and how images are resized is only metadata, so that one export serves all of a size.
    """
    classifier, model = _exported(architecture, spec.size, len(labels))
    metadata = {**describe(replace(classifier, labels=labels, spec=spec)), "temperature": 1.5}
    own = onnx.ModelProto.FromString(model)
    onnx.helper.set_model_props(own, {key: json.dumps(value) for key, value in sorted(metadata.items())})
    path = folder / "model.onnx"
    onnx.save(own, path)
    return path


@cache
def _exported(architecture: str, size: int, count: int) -> tuple[Classifier, bytes]:
    classifier = support.tiny(architecture, LabelSet(tuple(map(str, range(count))), "nominal"), size)
    with torch.no_grad():
        classifier.head.weight.mul_(0.3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(classifier, path, opset=18, facts={})
        return classifier, path.read_bytes()
