"""Writing a golden kit: images, and the result of every step for each, to find the step of an app that differs."""

from functools import partial
from pathlib import Path

from PIL import Image

from data.decode import decode
from export.golden.images import GoldenImage, encode_png, golden_images
from export.golden.kit import GoldenEntry, GoldenIndex, is_quantized, tolerance_of
from export.release import FP32, RGB
from export.rgb import DECODE
from export.runtime import OnnxClassifier, RgbClassifier
from export.session import side_by_side
from run.files import atomic_path, file_digest, write_text
from run.template import render
from run.text import code_span


def write_golden(folder: Path, rgb: Path, model: Path) -> None:
    """Write the kit atomically: ``index.json``, ``README.md``, and three image files for each image.

    Args:
        folder: replaced if it is there.
        rgb: the release's ``rgb.onnx``; gives the probabilities.
        model: its ``model.onnx`` in float32; gives the logits.
    """
    classifier = OnnxClassifier(model, threads=1)
    whole = RgbClassifier(rgb, threads=1)
    quantized = is_quantized(rgb)
    with atomic_path(folder) as partial_folder:
        partial_folder.mkdir(parents=True)
        write = partial(_write_image, partial_folder, classifier, whole, quantized)
        index = GoldenIndex(
            files={FP32.path.name: file_digest(model), RGB.path.name: file_digest(rgb)},
            rule=classifier.rule,
            spec=classifier.spec,
            decode=DECODE,
            images=tuple(side_by_side(write, golden_images())),
        )
        index.write(partial_folder)
        write_text(partial_folder / "README.md", readme(index))


def _write_image(
    folder: Path, classifier: OnnxClassifier, whole: RgbClassifier, quantized: bool, image: GoldenImage
) -> GoldenEntry:
    decoded = decode(image.data)
    pixels = classifier.spec.render(decoded)
    # Logits of the stored 8-bit pixels, because check-golden starts from these.
    logits = classifier.logits(classifier.spec.normalize(pixels[None]))[0]
    outputs = whole.outputs(decoded)
    entry = GoldenEntry(
        name=image.name,
        file=image.file,
        purpose=image.purpose,
        width=decoded.width,
        height=decoded.height,
        rgb=f"{image.name}.rgb.png",
        pixels=f"{image.name}.pixels.png",
        probabilities=tuple(map(float, outputs["probabilities"])),
        scores=tuple(map(float, outputs["scores"])) if "scores" in outputs else None,
        decision=whole.rule.names(outputs["decision"]),
        logits=tuple(map(float, logits)),
        tolerance=tolerance_of(image.name, logits.tolist(), quantized=quantized),
    )
    (folder / entry.file).write_bytes(image.data)
    (folder / entry.rgb).write_bytes(encode_png(decoded))
    (folder / entry.pixels).write_bytes(encode_png(Image.fromarray(pixels)))
    return entry


def readme(index: GoldenIndex) -> str:
    """``golden/README.md``, for the engineer who has to find out which step differs."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (index.spec.mean, index.spec.std))
    labels = ", ".join(map(code_span, index.rule.labels.names))
    values = {"index": index, "rule": index.rule, "spec": index.spec, "labels": labels, "mean": mean, "std": std}
    return render(Path(__file__).with_name("readme.md"), values)
