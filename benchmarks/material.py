"""Photographs, manifests that list them, models and caches: what benchmarks run on.

Weights are random, which is enough for figures of speed, size and memory: these do not depend on what a model has
learned.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common
from cache.fill import fill
from cache.frozen import FrozenModel
from cache.key import CacheKey, Layout, ViewCache
from cache.top_labels import keeps_all
from data.config import ViewsConfig
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.views import ViewSpec
from export.int8.config import Int8Config
from export.int8.judge import SweepImages
from export.int8.quantize import quantize
from export.int8.result import Int8Result
from export.onnx_file import write_onnx
from export.reparameterize import fuse
from models.building import build, size_args, spec_of
from models.classifier import Classifier
from models.device import device_of
from models.forward import Output, in_order
from run.config import TrackingConfig, TrainerConfig
from run.context import RunContext
from run.errors import UserError
from run.folder import RunFolder

LABELS = LabelSet(("none", "mild", "moderate", "severe"), "ordinal")

SPEC = ViewSpec.of(ViewsConfig())
"""The product's own views."""

ANY = Int8Config(mode="quick", max_flip_rate=0.999, min_speedup=1e-9)
"""A gate that lets all pass: what random weights choose means nothing."""


def photographs(count: int) -> list[Image.Image]:
    """Real photographs of the ``demo`` extra."""
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise UserError("install the demo extra: its photographs are needed")
    paths = sorted((Path(spec.origin).parent / "data" / "images").glob("*.png"))[:count]
    return [Image.open(path).convert("RGB") for path in paths]


def random_classifier(name: str, size: int, images: list[Image.Image]) -> Classifier:
    """A timm model whose batch norms have seen the images, or its numbers would overflow; they squash their input."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=len(LABELS), **size_args(name, size))
    classifier = Classifier(model, name, LABELS, spec_of(model).with_size(size).squashed())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        model.train()(torch.from_numpy(pixels_of(classifier, images)))
    model.eval()
    return classifier


def pixels_of(classifier: Classifier, images: list[Image.Image]) -> NDArray[np.float32]:
    """The images as the model takes them [N, 3, S, S]."""
    return classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in images]))


def export_both(classifier: Classifier, folder: Path, images: list[Image.Image]) -> tuple[Path, Path, Int8Result]:
    """The fp32 and the INT8 file of a model, fused where it can be, and how the latter was found."""
    full = folder / "model.onnx"
    quantized = folder / "model_quantized.onnx"
    write_onnx(fuse(classifier), full, opset=18, facts={})
    pixels = pixels_of(classifier, images)
    judged = pixels[::2]
    no_targets = np.zeros((len(judged), len(LABELS)), np.float32)
    unlabeled = SweepImages(pixels[1::2], judged, no_targets, np.zeros(len(judged), np.bool_))
    result = quantize(full, quantized, unlabeled, ANY)
    return full, quantized, result


def labels_of(count: int) -> LabelSet:
    """A nominal label set of this size."""
    return LabelSet(tuple(f"label {index}" for index in range(count)), "nominal")


def untrained(
    name: str, size: int, labels: LabelSet = LABELS, seed: int = 0, *, pretrained: bool = False
) -> Classifier:
    """A model that squashes its input, with a seed's random weights, or all but those of its head as they are."""
    torch.manual_seed(seed)
    classifier = build(name, labels, key="model", pretrained=pretrained, image_size=size)
    return replace(classifier, spec=classifier.spec.squashed())


def write_photographs(folder: Path, count: int, size: tuple[int, int], suffix: str = ".jpg") -> list[Path]:
    """Files of 2 × 2 crops from the photographs that come with scikit-learn, none like another.

    Args:
        folder: made if need be.
        count: how many.
        size: width and height in pixels.
        suffix: ``.jpg`` or ``.png``.
    """
    from sklearn.datasets import load_sample_images  # seconds that only this needs

    sources = [Image.fromarray(array) for array in load_sample_images().images]
    generator = np.random.default_rng(0)
    half = size[0] // 2, size[1] // 2
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}{suffix}" for number in range(count)]
    for path in paths:
        sheet = Image.new("RGB", size)
        for corner in ((0, 0), (half[0], 0), (0, half[1]), half):
            source = sources[int(generator.integers(len(sources)))]
            sheet.paste(_crop(source, generator).resize(half), corner)
        sheet.save(path, quality=90)  # of a JPEG; PNG takes no notice
    return paths


def _crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A part with 40 to 80 % of each side."""
    share, x, y = generator.uniform(0.4, 0.8), *generator.random(2)
    width = int(image.width * share)
    height = int(image.height * share)
    left = int(x * (image.width - width))
    top = int(y * (image.height - height))
    return image.crop((left, top, left + width, top + height))


def synthetic_manifest(paths: Sequence[Path], splits: Mapping[str, int], labels: LabelSet = LABELS) -> Manifest:
    """Rows, so many for each split, that take turns at the files and at the labels; each is an image of its own."""
    rows: list[dict[str, Any]] = []
    for split, count in splits.items():
        for number in range(len(rows), len(rows) + count):
            target = [0.0] * len(labels)
            target[number % len(labels)] = 1.0
            image_id = hashlib.sha256(str(number).encode()).hexdigest()
            uri = str(paths[number % len(paths)])
            rows.append({"image_id": image_id, "uri": uri, "target": target, "split": split, "status": "ok"})
    return Manifest.of(labels, rows)


def random_key(classifier: Classifier, output: Output, width: int) -> CacheKey:
    """A cache key for ``width`` random numbers, kept as a model's features, or logits of so many labels, would be."""
    layout: Layout = "all" if output == "features" or keeps_all(width, exclusive=True) else "top"
    key = CacheKey.of(classifier, output, SPEC, "32-true")
    return replace(key, weights="random numbers", width=width, layout=layout)


class RandomForward:
    """In place of a model: images [B, 3, S, S] to random numbers [B, width], 128 images at a time."""

    batch_size = 128

    def __init__(self, width: int) -> None:
        self._width = width
        self._generator = np.random.default_rng(0)

    def __call__(self, images: torch.Tensor, /) -> NDArray[np.float32]:
        return self._generator.standard_normal((len(images), self._width), np.float32)


def write_random_cache(root: Path, key: CacheKey, manifest: Manifest, views: int) -> ViewCache:
    """A cache of random numbers: their values change neither how long they are read nor how many bytes they take."""
    cache = ViewCache(root, key)
    fill(cache, manifest, views, RandomForward(key.width), workers=2)
    return cache


def context_of(folder: Path, trainer: TrainerConfig) -> RunContext:
    """A run in ``folder`` that nothing tracks."""
    return RunContext(folder=RunFolder(folder), trainer=trainer, tracking=TrackingConfig(), seed=0, config={})


class BareModel:
    """A model's pass without anything around it: images that are ready on its device, again and again.

    Args:
        backbone: run as the product runs it.
        trainer: says which device.
    """

    def __init__(self, backbone: FrozenModel, trainer: TrainerConfig) -> None:
        self._forward = backbone.forward
        size = backbone.classifier.spec.size
        shape = (self._forward.batch_size, 3, size, size)
        self._images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device_of(trainer))
        self.run(2)  # the first call sets up what no later one does

    def run(self, count: int) -> None:
        """Run it on so many images."""
        batch = len(self._images)
        for _ in in_order(self._forward, (self._images[: count - start] for start in range(0, count, batch))):
            pass


def seconds_to_fill(classifier: Classifier, manifest: Manifest, views: int, trainer: TrainerConfig) -> float:
    """Seconds of filling a new cache with a model's features, from files."""
    # A new one each time: what a cache holds is not computed again.
    with common.scratch() as folder:
        model = FrozenModel(classifier, "features", context_of(folder, trainer))
        return common.timed(lambda: model.compute_outputs(Examples(manifest, SPEC), views)).seconds
