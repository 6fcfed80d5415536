"""Releases with a file for every runtime, made by the real converters."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from export.config import FormatName
from export.formats import FORMATS
from export.formats.write import write_formats
from export.golden.write import write_golden
from export.onnx_file import write_onnx
from export.rgb import write_rgb
from models.building import spec_of
from models.classifier import Classifier
from tests import support
from tests.export.random_models import settled

TEMPERATURE = 1.5
PARITY = 1e-4


@dataclass(frozen=True)
class Made:
    """A model and its ``NAME-onnx`` folder."""

    classifier: Classifier
    folder: Path

    def write(self, *names: FormatName, parity: float = PARITY) -> None:
        write_formats(self.folder, self.classifier, names, parity, TEMPERATURE)


def write_reference(classifier: Classifier, folder: Path) -> Made:
    """What the formats are made from and compared with."""
    model, rgb = folder / "onnx" / "model.onnx", folder / "rgb.onnx"
    write_onnx(classifier, model, opset=18, facts={"temperature": TEMPERATURE})
    write_rgb(model, rgb)
    write_golden(folder / "golden", rgb, model)
    return Made(classifier, folder)


def student() -> Classifier:
    """A small convolutional network."""
    return lively(settled("test_efficientnet", 64, support.FOUR))


def teacher() -> Classifier:
    """EVA-02 with one block of twelve: converters take seconds for each."""
    torch.manual_seed(0)
    model = timm.create_model("eva02_tiny_patch14_224", num_classes=4, img_size=56, depth=1).eval()
    return lively(Classifier(model, "eva02_tiny_patch14_224", support.FOUR, spec_of(model).with_size(56).squashed()))


def lively(classifier: Classifier) -> Classifier:
    """The same with logits of such a size that no probability is near 0 or 1, or all are the same."""
    pictures = np.stack([classifier.spec.render(support.picture(90, 60, seed)) for seed in range(8)])
    with torch.no_grad():
        logits = classifier.model(torch.from_numpy(classifier.spec.normalize(pictures)))
        classifier.head.weight.mul_(2 / logits.std())
    return classifier


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """A model and its ``NAME-onnx`` folder inside the one that ``make`` gets; made anew, its last bits could differ."""

    def write(folder: Path) -> None:
        with support.named_machine():
            made = make(folder)
        torch.save(made.classifier, folder / "classifier.pt")

    folder = support.made_once(factory, name, write)
    (own,) = folder.glob("*-onnx")
    return Made(torch.load(folder / "classifier.pt", weights_only=False), own)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A student whose folder holds no formats; tests copy it."""
    return made_once(tmp_path_factory, "plain", lambda folder: write_reference(student(), folder / "student-onnx"))


@pytest.fixture(scope="session", params=["student", pytest.param("teacher", marks=pytest.mark.slow)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model with all formats; tests copy it or leave it as it is."""

    def make(folder: Path) -> Made:
        if request.param == "teacher":
            made = write_reference(teacher(), folder / "teacher-onnx")
        else:
            plain: Made = request.getfixturevalue("plain")
            made = replace(plain, folder=shutil.copytree(plain.folder, folder / "student-onnx"))
        made.write(*FORMATS)
        return made

    return made_once(tmp_path_factory, f"made-{request.param}", make)
