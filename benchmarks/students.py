"""Size, speed and memory of the students that are tested, fp32 and INT8: a Markdown table.

``python -m benchmarks.students [--size 224] [NAME …]``. Weights are random, which is enough for these figures; how far
INT8 is from fp32 in its answers depends on trained weights and is measured by ``pocketeva export``. Needs the ``demo``
extra for its photographs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STUDENTS = (
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_medium",
    "tf_efficientnet_lite0",
    "repvit_m0_9",
    "mobileone_s0",
    "fastvit_t8",
    "tiny_vit_5m_224",
    "mobilenetv3_small_100",
)

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
print(peak() - before)
"""


def memory(path: Path, size: int) -> float:
    """MiB by which the peak of a process of its own rises when it loads the file and runs single images."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), str(size)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def measure(name: str, size: int) -> dict[str, Any]:
    """All figures of one student."""
    from benchmarks.random_models import export_both, photographs, pixels_of, random_classifier
    from export.int8_judge import once, race

    images = photographs(16)
    with tempfile.TemporaryDirectory() as folder:
        classifier = random_classifier(name, size, images)
        full, quantised, result = export_both(classifier, Path(folder), images)
        if result.winner is None:
            raise RuntimeError(f"{name}: {result.rows}")
        image = pixels_of(classifier, images[:1])
        ms, quantised_ms = race([once(path, image) for path in (full, quantised)])
        return {
            "name": name,
            "bytes": full.stat().st_size,
            "int8_bytes": quantised.stat().st_size,
            "ms": ms,
            "int8_ms": quantised_ms,
            "memory": memory(full, size),
            "int8_memory": memory(quantised, size),
            "int8": {key: result.winner[key] for key in ("method", "per_channel", "activation")},
        }


def main(arguments: list[str]) -> None:
    """Measure each student in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=STUDENTS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--one", action="store_true", help="print the figures of one student as JSON")
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measure(given.names[0], given.size)))
        return
    print("| student | MB fp32 | MB INT8 | ms fp32 | ms INT8 | INT8 is | MiB fp32 | MiB INT8 |\n|" + " --- |" * 8)
    rows = [_row(name, given.size) for name in given.names]
    from benchmarks.random_models import machine

    result = {
        "name": "students",
        "ratio": sum(row["int8_ms"] for row in rows) / sum(row["ms"] for row in rows),
        "against": "milliseconds an image of the fp32 files of the same students, one thread",
        "machine": machine(),
        "size": given.size,
        "students": rows,
    }
    print(json.dumps(result))


def _row(name: str, size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.students", name, "--size", str(size), "--one"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    speed = row["ms"] / row["int8_ms"]
    print(
        f"| {name} | {row['bytes'] / 1e6:.1f} | {row['int8_bytes'] / 1e6:.1f} | {row['ms']:.2f} | {row['int8_ms']:.2f} "
        f"| {f'{speed:.1f} × faster' if speed >= 1 else f'{1 / speed:.1f} × slower'} "
        f"| {row['memory']:.0f} | {row['int8_memory']:.0f} |",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
