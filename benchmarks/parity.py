"""How far the preprocessing inside ``rgb.onnx`` is from that of training, and the usual alternatives beside it.

``python -m benchmarks.parity [MODEL.onnx …]`` takes exported models to measure score differences on; without any, tiny
models with random weights, which are more sensitive than trained ones. Needs the ``demo`` extra for its photographs.
"""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from PIL import Image

from data.labels import LabelSet
from export.onnx_file import write_onnx
from export.rgb import resizing
from export.runtime import OnnxClassifier
from models.classifier import build
from models.outputs import probabilities
from models.spec import InputSpec
from run.files import Json

SIZES = (112, 224, 448)
Resize = Callable[[Image.Image], NDArray[np.uint8]]
"""An image to pixels [S, S, 3]."""


def images() -> Iterator[Image.Image]:
    """120 real photographs (a third resized, a third cropped, both coloured) and 100 random ones of many sizes."""
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        sys.exit("elpv-dataset is not installed: install the demo extra")
    generator = np.random.default_rng(0)
    for number, path in enumerate(sorted((Path(spec.origin).parent / "data" / "images").glob("*.png"))[:120]):
        image = Image.open(path).convert("RGB")
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
    return _session(resizing(spec, _empty()))


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


def _empty() -> onnx.ModelProto:
    graph = onnx.helper.make_graph([], "empty", [], [])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def _random_models(folder: Path) -> Iterator[Path]:
    labels = LabelSet(("sound", "doubtful", "likely", "broken"), "ordinal")
    for size in SIZES:
        torch.manual_seed(0)
        classifier = build("test_vit", labels, key="teacher", pretrained=False, image_size=size)
        torch.nn.init.normal_(classifier.head.weight, std=0.3)
        path = folder / f"{size}.onnx"
        write_onnx(classifier, path, opset=18, facts={})
        yield path


def measure(model: OnnxClassifier, way: Callable[[InputSpec], Resize], pictures: list[Image.Image]) -> dict[str, Any]:
    """``differing`` and ``pixels`` (once for all channels), ``levels``, ``score`` (largest), ``ms`` a picture."""
    spec = model.spec.squashed()
    run = way(spec)
    differing, levels, score, seconds = 0, 0, 0.0, 0.0
    for image in pictures:
        started = time.perf_counter()
        found = run(image)
        seconds += time.perf_counter() - started
        expected = spec.render(image)
        off = np.abs(found.astype(np.int64) - expected).max(-1)
        differing, levels = differing + int((off > 0).sum()), max(levels, int(off.max()))
        if off.any():
            pair = probabilities(model.logits(spec.normalise(np.stack([found, expected]))), model.labels.kind)
            score = max(score, float(np.abs(pair[0] - pair[1]).max()))
    pixels = spec.size**2 * len(pictures)
    ms = round(1000 * seconds / len(pictures), 2)
    return {"differing": differing, "pixels": pixels, "levels": levels, "score": score, "ms": ms}


def main(paths: list[str]) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    pictures = list(images())
    figures: dict[str, dict[str, Json]] = {}
    shares: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in map(Path, paths) if paths else _random_models(Path(folder)):
            model = OnnxClassifier(path)
            for way in (ours, resize_node, torch_float, torch_bilinear):
                found = measure(model, way, pictures)
                equal = 1 - found["differing"] / found["pixels"]
                print(
                    f"{model.spec.size} px  {way.__name__:15} {100 * equal:8.3f} % equal, at most {found['levels']:3} "
                    f"levels and {found['score']:.1e} of a score off, {found['ms']:6.2f} ms"
                )
                figures.setdefault(way.__name__, {})[
                    f"{path.parent.parent.name} {model.spec.size}" if paths else str(model.spec.size)
                ] = found
                shares.setdefault(way.__name__, []).append(1 - equal)
    mismatch = {name: sum(values) / len(values) for name, values in shares.items()}
    result = {
        "name": "parity",
        "ratio": mismatch["ours"] / mismatch["torch_float"],
        "against": "share of pixels that PyTorch's float32 antialiased bicubic gets different from training",
        "machine": f"{platform.processor() or platform.machine()}, one thread, onnxruntime {ort.__version__}",
        "images": len(pictures),
        "mismatch": mismatch,
        "figures": figures,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
