"""Real images, tiny models and small runs for the tests."""

import io
import json
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from data.config import DataConfig, SplitsConfig
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from fitting.module import Batch, FitModule
from models.building import build
from models.classifier import Classifier
from run.config import TrackingConfig, TrainerConfig
from run.context import RunContext
from run.folder import RunFolder

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]

TWO = LabelSet(("sound", "broken"), "nominal")
FOUR = LabelSet(("sound", "doubtful", "likely", "broken"), "ordinal")
TRAINER = TrainerConfig(accelerator="cpu", devices=1, precision="32-true", num_workers=0, frozen_batch_size=64)
SPLITS = SplitsConfig(val=0.2, calibration=0.2, test=0.2)

HOST, USER = "the-host-of-the-tests", "the-user-of-the-tests"
"""What machine and user are called inside ``named_machine``."""


@contextmanager
def named_machine() -> Iterator[None]:
    """Call machine and user by names that turn up nowhere by chance.

    The real ones may be words that any file holds: a test that looks for them hangs on what a machine is called.
    """
    real = os.uname()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            patch.setenv(variable, USER)
        patch.setenv("HOSTNAME", HOST)
        for module, name in ((socket, "gethostname"), (socket, "getfqdn"), (platform, "node")):
            patch.setattr(module, name, lambda *_: HOST)
        patch.setattr(os, "uname", lambda: os.uname_result((real.sysname, HOST, *real[2:])))
        yield


def elpv_rows() -> list[tuple[Path, int]]:
    """Every photograph of the elpv-dataset package with its class, 0 to 3."""
    spec = find_spec("elpv_dataset")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent / "data"
    rows = [line.split() for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines()]
    return [(root / name, round(float(likelihood) * 3)) for name, likelihood, _ in rows]


def label_folders(root: Path, counts: Mapping[str, int]) -> Path:
    """Copies of real photographs, ``counts`` of them in each label's folder, none twice."""
    paths = iter(path for path, _ in elpv_rows())
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for _ in range(count):
            path = next(paths)
            shutil.copyfile(path, root / label / path.name)
    return root


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one of the processes that share the tests out makes, and all of them read."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()  # last: one that failed to make it leaves no half of it to the others
    return folder


def prepared_elpv(root: Path, count: int) -> tuple[RunFolder, Manifest]:
    """A prepared run over ``count`` photographs, as many of each of the four classes, shrunk to 48 pixels."""
    by_class: dict[int, list[Path]] = {index: [] for index in range(4)}
    for path, index in elpv_rows():
        by_class[index].append(path)
    for index, name in enumerate(FOUR.names):
        (root / "images" / name).mkdir(parents=True)
        for path in by_class[index][: count // 4]:
            with Image.open(path) as image:
                image.resize((48, 48)).save(root / "images" / name / path.name)
    run = RunFolder(root / "run")
    config = DataConfig(format="folder", path=str(root / "images"), splits=SPLITS)
    return run, prepare(run, FOUR, config)


def copied(run: RunFolder, root: Path) -> RunFolder:
    """The same prepared run at another place, to be written to."""
    shutil.copytree(run.root, root)
    return RunFolder(root)


def context(folder: RunFolder, *, seed: int = 0, **given: Any) -> RunContext:
    """A run on the CPU, in this process."""
    settings: dict[str, Any] = {"trainer": TRAINER, "tracking": TrackingConfig(), "config": {}, **given}
    return RunContext(folder=folder, seed=seed, **settings)


def tiny(name: str = "test_vit", labels: LabelSet = TWO, size: int | None = 32, seed: int = 0) -> Classifier:
    """A small timm model with random weights, in eval mode."""
    torch.manual_seed(seed)
    classifier = build(name, labels, key="teacher", pretrained=False, image_size=size)
    with torch.no_grad():  # heads start near zero: make outputs differ
        classifier.head.weight.normal_()
    classifier.model.eval()
    return classifier


def picture(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Smooth colors without any symmetry."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (4, 5, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels(image: Image.Image) -> NDArray[np.int64]:
    """An image's values, signed, so that differences do not wrap."""
    return np.asarray(image).astype(np.int64)


def uint8_batch(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Random images [count, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def interrupted(work: Callable[[], T], *steps: tuple[int, int]) -> T:
    """What ``work`` gives after Ctrl-C in each of these steps (epoch, batch) of its fit, one call after the other."""
    training_step = FitModule.training_step
    for step in steps:

        def interrupt(self: FitModule, batch: Batch, number: int, step: tuple[int, int] = step) -> torch.Tensor:
            if (self.current_epoch, number) == step:
                raise KeyboardInterrupt
            return training_step(self, batch, number)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FitModule, "training_step", interrupt)
            with pytest.raises(KeyboardInterrupt):
                work()
    return work()


def files_below(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


class Sorting(nn.Module):
    """Uses an operator that ONNX has no word for."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The features, moved by their singular values."""
        values: torch.Tensor = torch.linalg.svdvals(features.flatten(1))
        return features + values.sum()


def rows_of(paths: Sequence[Path], labels: LabelSet, split: str = "train") -> list[dict[str, Any]]:
    """Manifest rows for image files, labeled in turn; ``image_id`` is the file's stem."""
    size = len(labels)
    return [
        {
            "image_id": path.stem,
            "uri": str(path),
            "target": [float(number % size == index) for index in range(size)],
            "votes": None,
            "split": split,
            "group": path.stem,
            "width": 48,
            "height": 48,
            "status": "ok",
        }
        for number, path in enumerate(paths)
    ]
