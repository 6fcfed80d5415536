"""Distance of ``rgb.onnx`` from the training path, in pixels and in scores, and the usual alternatives beside it.

``python -m benchmarks.parity [--images N] [MODEL.onnx …]`` takes exported models to measure score differences on;
without any, tiny models with random weights, which are more sensitive than trained ones and are run in PyTorch for
comparison. Each is taken twice: squashing its input, and with a center crop. Needs the ``demo`` extra for its
photographs.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common, material
from benchmarks.resizing import resizing
from export.onnx_file import write_onnx
from export.rgb import write_rgb
from export.runtime import OnnxClassifier, RgbClassifier
from models.classifier import Classifier
from models.decision import DecisionRule
from models.spec import InputSpec, ResizeMode

SIZES = (112, 224, 448)
MODES: dict[ResizeMode, float] = {"squash": 1.0, "center": 0.875}
"""Resize modes, with their ``crop_pct``."""

Resize = Callable[[Image.Image], NDArray[np.uint8]]
"""An image to pixels [S, S, 3]."""


def pictures() -> Iterator[Image.Image]:
    """120 real photographs (a third resized, a third cropped, both colored) and 100 random ones of many sizes."""
    generator = np.random.default_rng(0)
    for number, image in enumerate(material.photographs(120)):
        if number % 3:
            width, height = (int(side) for side in generator.integers(20, 900 if number % 3 == 1 else 280, 2))
            image = Image.fromarray((np.asarray(image) * generator.uniform(0.3, 1, 3)).astype(np.uint8))
            image = image.resize((width, height)) if number % 3 == 1 else image.crop((9, 9, 9 + width, 9 + height))
        yield image
    for _ in range(100):
        width, height = (int(2**exponent) for exponent in generator.uniform(0, 10, 2))
        yield Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))


def ours(spec: InputSpec) -> Resize:
    """The graph's."""
    return _session(resizing(spec))


def resize_node(spec: InputSpec) -> Resize:
    """One antialiased Resize of ONNX Runtime on uint8."""
    size = spec.size
    return _session(
        onnx.parser.parse_model(
            f"""<ir_version: 10, opset_import: ["" : 18]>
            node (uint8[height, width, 3] image) => (uint8[1, 3, {size}, {size}] rgb_pixels) <
                int64[1] first = {{0}}, int64[4] sizes = {{1, 3, {size}, {size}}}
            > {{
                batch = Unsqueeze (image, first)
                planes = Transpose <perm = [0, 3, 1, 2]> (batch)
                rgb_pixels = Resize <mode = "cubic", cubic_coeff_a = -0.5, antialias = 1, exclude_outside = 1> (
                    planes, , , sizes
                )
            }}"""
        )
    )


def torch_float(spec: InputSpec) -> Resize:
    """PyTorch's antialiased bicubic on float32, as scripts do that put the resize into the exported model."""
    return _torch(spec, mode="bicubic", antialias=True)


def torch_bilinear(spec: InputSpec) -> Resize:
    """Bilinear without antialiasing, as the default of most app frameworks is."""
    return _torch(spec, mode="bilinear", antialias=False)


def _torch(spec: InputSpec, **options: Any) -> Resize:
    def run(image: Image.Image) -> NDArray[np.uint8]:
        planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(planes, size=(spec.size, spec.size), **options)
        return resized.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()

    return run


def _session(model: onnx.ModelProto) -> Resize:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(image: Image.Image) -> NDArray[np.uint8]:
        (pixels,) = session.run(None, {"image": np.asarray(image)})
        return np.asarray(pixels[0].transpose(1, 2, 0))

    return run


@dataclass(frozen=True)
class Subject:
    """One model: its file, and what the training path says of images, as probabilities [B, C]."""

    name: str
    body: Path
    training: Callable[[Sequence[Image.Image]], NDArray[np.float32]]


def random_subjects(folder: Path) -> Iterator[Subject]:
    """Each size and resize mode; the training path is PyTorch's."""
    for size, mode in itertools.product(SIZES, MODES):
        classifier = material.untrained("test_vit", size)
        torch.nn.init.normal_(classifier.head.weight, std=0.3)
        classifier = replace(classifier, spec=replace(classifier.spec, mode=mode, crop_pct=MODES[mode]))
        body = folder / f"{size}-{mode}.onnx"
        write_onnx(classifier, body, opset=18, facts={})
        yield Subject(f"{size} {mode}", body, partial(_torch_scores, classifier))


def given_subject(path: Path) -> Subject:
    """An exported model; the training path is its own file fed by Python's preprocessing."""
    model = OnnxClassifier(path)
    return Subject(f"{path.parent.parent.name} {model.spec.size} {model.spec.mode}", path, model.probabilities)


def _torch_scores(classifier: Classifier, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits = classifier.model(torch.from_numpy(material.pixels_of(classifier, list(images)))).numpy()
    return DecisionRule.of(classifier.labels).probabilities(logits)


def measure(
    body: Path, way: Callable[[InputSpec], Resize], images: Sequence[Image.Image], scores: NDArray[np.float32]
) -> dict[str, Any]:
    """The distance of a way of resizing from Python's, and of the scores from those [B, C] of the training path.

    Returns:
        ``differing`` and ``pixels`` (once for all channels), ``levels``, ``score`` (largest), ``ms`` a picture.
    """
    model = OnnxClassifier(body, threads=1)
    run = way(model.spec)
    differing = 0
    levels = 0
    score = 0.0
    seconds = 0.0
    for image, expected in zip(images, scores, strict=True):
        started = time.perf_counter()
        found = run(image)
        seconds += time.perf_counter() - started
        off = np.abs(found.astype(np.int64) - model.spec.render(image)).max(-1)
        differing += int((off > 0).sum())
        levels = max(levels, int(off.max()))
        ours = DecisionRule.of(model.labels).probabilities(model.logits(model.spec.normalize(found[None])))
        score = max(score, float(np.abs(ours[0] - expected).max()))
    pixels = model.spec.size**2 * len(images)
    ms = round(1000 * seconds / len(images), 2)
    return {"differing": differing, "pixels": pixels, "levels": levels, "score": score, "ms": ms}


def whole_path(body: Path, folder: Path, images: Sequence[Image.Image], scores: NDArray[np.float32]) -> float:
    """The largest difference between ``rgb.onnx``, as it is shipped, and the scores [B, C] of the training path."""
    write_rgb(body, folder / "rgb.onnx")
    found = RgbClassifier(folder / "rgb.onnx", threads=1).probabilities(images)
    return float(np.abs(found - scores).max())


def main() -> None:
    """Measure and print."""
    parser = common.parser_of(__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=220, help="so many of them: a small number, to see that it runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    every = list(pictures())
    images = every[:: max(1, len(every) // given.images)]
    figures: dict[str, dict[str, Any]] = {}
    with common.scratch() as folder:
        for subject in map(given_subject, given.models) if given.models else random_subjects(folder):
            scores = np.concatenate([subject.training([image]) for image in images])
            largest = whole_path(subject.body, folder, images, scores)
            figures[subject.name] = {"rgb.onnx": {"score": largest}}
            print(f"{subject.name:12} rgb.onnx: at most {largest:.1e} of a score off")
            squashed = OnnxClassifier(subject.body).spec.mode == "squash"
            for way in (ours, resize_node, torch_float, torch_bilinear) if squashed else (ours,):
                figures[subject.name][way.__name__] = found = measure(subject.body, way, images, scores)
                equal = 1 - found["differing"] / found["pixels"]
                print(
                    f"{subject.name:12} {way.__name__:15} {100 * equal:8.3f} % equal, at most {found['levels']:3} "
                    f"levels and {found['score']:.1e} of a score off, {found['ms']:6.2f} ms"
                )
    summarize(figures, len(images))


def summarize(figures: Mapping[str, Mapping[str, Any]], count: int) -> None:
    """Print the line for machines; the ratio is over the models that squash, the only ones that all ways resize for."""
    squashed = [found for found in figures.values() if "torch_float" in found]
    shares: dict[str, float] = {
        way: sum(found[way]["differing"] for found in squashed)
        / max(1, sum(found[way]["pixels"] for found in squashed))
        for way in ("ours", "resize_node", "torch_float", "torch_bilinear")
        if squashed
    }
    every = [found["ours"] for found in figures.values()]
    common.report(
        "parity",
        ratio=shares["ours"] / shares["torch_float"] if squashed else None,
        against="share of pixels that PyTorch's float32 antialiased bicubic gets different from training",
        machine=common.machine(),
        images=count,
        equal=1 - sum(found["differing"] for found in every) / sum(found["pixels"] for found in every),
        levels=max(found["levels"] for found in every),
        score=max(found["rgb.onnx"]["score"] for found in figures.values()),
        mismatch=shares,
        figures=figures,
    )


if __name__ == "__main__":
    main()
