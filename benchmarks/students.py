"""Size, speed and memory of the students that are tested, fp32 and INT8: a Markdown table.

``python -m benchmarks.students [--size 224] [--quick] [NAME …]``. Weights are random, which is enough for these
figures; how far INT8 is from fp32 in its answers depends on trained weights and is measured by ``pocketeva export``.
``--quick`` takes few turns, to see that it runs. Needs the ``demo`` extra for its photographs.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from distill.config import TESTED

PROBE = """
import re, resource, sys
import numpy as np
import onnxruntime as ort

def peak():
    try:
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    except OSError:  # macOS counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

options = ort.SessionOptions()
options.intra_op_num_threads = 1
image = np.random.default_rng(0).normal(size=(1, 3, int(sys.argv[2]), int(sys.argv[2]))).astype(np.float32)
before = peak()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(5):
    session.run(None, {"pixel_values": image})
print(peak(), peak() - before)
"""


def memory(path: Path, size: int) -> tuple[float, float]:
    """Peak MiB of a process that only loads the file and runs single images, and by how much the file raised it.

    The rest is Python, NumPy and ONNX Runtime.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), str(size)], check=True, capture_output=True, text=True
    )
    whole, own = map(float, done.stdout.split())
    return whole, own


def measure(name: str, size: int, rounds: int) -> dict[str, Any]:
    """All figures of one student."""
    from benchmarks.material import export_both, photographs, pixels_of, random_classifier
    from export.session import one_inference
    from export.timing import race

    images = photographs(16)
    with common.scratch() as folder:
        classifier = random_classifier(name, size, images)
        full, quantized, result = export_both(classifier, folder, images)
        if result.winner is None:
            raise RuntimeError(f"{name}: {result.candidates}")
        image = pixels_of(classifier, images[:1])
        ms, quantized_ms = race([one_inference(path, image) for path in (full, quantized)], rounds)
        (whole, own), (quantized_whole, quantized_own) = (memory(path, size) for path in (full, quantized))
        return {
            "name": name,
            "bytes": full.stat().st_size,
            "int8_bytes": quantized.stat().st_size,
            "ms": ms,
            "int8_ms": quantized_ms,
            "peak_mib": whole,
            "int8_peak_mib": quantized_whole,
            "own_mib": own,
            "int8_own_mib": quantized_own,
            "int8": {
                "method": result.winner.method,
                "per_channel": result.winner.per_channel,
                "activation": result.winner.activation,
            },
        }


COLUMNS: tuple[tuple[str, str, float, int], ...] = (
    ("MB fp32", "bytes", 1e6, 1),
    ("MB INT8", "int8_bytes", 1e6, 1),
    ("ms fp32", "ms", 1, 2),
    ("ms INT8", "int8_ms", 1, 2),
    ("peak MiB fp32", "peak_mib", 1, 0),
    ("peak MiB INT8", "int8_peak_mib", 1, 0),
    ("of which the file, fp32", "own_mib", 1, 0),
    ("of which the file, INT8", "int8_own_mib", 1, 0),
)
"""Of the table: heading, figure, what it is divided by, digits after the point."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, as in ``docs/students.md``."""
    lines = [
        " | ".join(("student", *(heading for heading, *_ in COLUMNS))),
        " | ".join(["---"] + ["---:"] * len(COLUMNS)),
    ]
    for row in rows:
        cells = (f"{row[key] / unit:.{digits}f}" for _, key, unit, digits in COLUMNS)
        lines.append(" | ".join((f"`{row['name']}`", *cells)))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Measure each student in a process of its own, and print the table."""
    parser = common.parser_of(__doc__, "size", "quick", size=224)
    parser.add_argument("names", nargs="*", default=TESTED)
    parser.add_argument("--one", action="store_true", help="print the figures of one student as JSON")
    given = parser.parse_args()
    rounds = 5 if given.quick else 200
    if given.one:
        print(json.dumps(measure(given.names[0], given.size, rounds)))
        return
    rows = []
    same = ["--size", str(given.size), *(["--quick"] if given.quick else [])]
    for name in given.names:
        common.say(name)
        rows.append(common.in_own_process("students", name, "--one", *same))
    print(table(rows))
    common.report(
        "students",
        ratio=sum(row["int8_ms"] for row in rows) / sum(row["ms"] for row in rows),
        against="milliseconds an image of the fp32 files of the same students, one thread",
        machine=common.machine(),
        size=given.size,
        rounds=rounds,
        students=rows,
    )


if __name__ == "__main__":
    main()
