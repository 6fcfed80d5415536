"""What ``prepare`` costs: images/s against a plain Pillow loop, and how time and memory grow with the number of rows.

``python -m benchmarks.prepare [--rows 10000 100000 1000000]``

The rate is measured on 1,500 JPEG files of 1024 × 768 pixels, each made from photographs of the elpv-dataset package.
The plain loop opens, decodes and converts each file to RGB, in one process and nothing more; ``prepare`` also hashes
bytes and pixels, computes a perceptual hash, finds duplicates, draws splits and writes manifest and audit.

Growth is measured on files of 16 × 16 random pixels, none like another, listed in one CSV file; every size runs in a
process of its own, so that its peak memory is its own. ``load`` is reading the manifest and building the training data
set from it.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data.config import DataConfig, ViewsConfig
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from run.folder import RunFolder

LABELS = LabelSet(("a", "b", "c", "d"), "nominal")
PHOTOGRAPHS = 1500
SIZE = (1024, 768)
FOLDER_FILES = 1000
"""Files in one folder: file systems grow slow with many."""


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_size(options.one)))
        return
    from benchmarks.random_models import machine  # torch, which must not count as memory that prepare takes

    with tempfile.TemporaryDirectory() as folder:
        rate = rates(Path(folder))
        growth = []
        for rows in sorted(options.rows):
            root = Path(folder) / str(rows)
            write_tiny(root, rows)
            command = [sys.executable, "-m", "benchmarks.prepare", "--one", str(root)]
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            growth.append({"rows": rows, **json.loads(result.stdout.splitlines()[-1])})
            print(growth[-1], file=sys.stderr)
    print(
        json.dumps(
            {
                "name": "prepare",
                "ratio": round(rate["prepare"] / rate["pillow_loop"], 2),
                "against": "a plain Pillow loop that only decodes, images/s",
                "machine": machine(),
                "images_per_s": rate,
                "growth": growth,
            }
        )
    )


def rates(folder: Path) -> dict[str, float]:
    """Images/s of both, in turns, the better of three."""
    paths = write_photographs(folder / "photographs")
    best = {"prepare": 0.0, "pillow_loop": 0.0}
    for turn in range(3):
        seconds = {"pillow_loop": timed(pillow_loop, paths)}
        run = RunFolder(folder / f"run{turn}")
        config = DataConfig(format="folder", path=str(folder / "photographs"))
        seconds["prepare"] = timed(prepare, run, LABELS, config)
        best = {name: max(rate, round(len(paths) / seconds[name], 1)) for name, rate in best.items()}
    return best


def timed(function: object, *arguments: object) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    assert callable(function)
    function(*arguments)
    return time.perf_counter() - started


def pillow_loop(paths: list[Path]) -> None:
    """What a training script does first: decode every file to RGB."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB")


def write_photographs(folder: Path) -> list[Path]:
    """JPEG files of 2 × 2 photographs each, in label folders."""
    from tests.support import elpv_rows  # torch again

    sources = [path for path, _ in elpv_rows()]
    generator = np.random.default_rng(0)
    paths = []
    for number in range(PHOTOGRAPHS):
        sheet = Image.new("RGB", SIZE)
        for place, index in enumerate(generator.choice(len(sources), 4, replace=False).tolist()):
            with Image.open(sources[index]) as cell:
                half = (SIZE[0] // 2, SIZE[1] // 2)
                sheet.paste(cell.convert("RGB").resize(half), (place % 2 * half[0], place // 2 * half[1]))
        path = folder / LABELS.names[number % len(LABELS)] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, quality=88)
        paths.append(path)
    return paths


def write_tiny(root: Path, rows: int) -> None:
    """``rows`` small files that are all different, and ``labels.csv``."""
    root.mkdir(parents=True)
    with (root / "labels.csv").open("w", encoding="utf-8") as table:
        table.write("image,label\n")
        for number, data in enumerate(tiny_images(rows)):
            path = root / f"{number // FOLDER_FILES:05}" / f"{number % FOLDER_FILES:03}.bmp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            table.write(f"{path.relative_to(root)},{LABELS.names[number % len(LABELS)]}\n")


def tiny_images(count: int) -> Iterator[bytes]:
    """BMP files of 16 × 16 random pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "BMP")
    header = stream.getvalue()[: -16 * 16 * 3]
    generator = np.random.default_rng(count)
    for _ in range(count):
        yield header + generator.bytes(16 * 16 * 3)


def one_size(root: Path) -> dict[str, object]:
    """Seconds and peak memory of the first ``prepare``, a second one, one after ten new rows, and loading."""
    run = RunFolder(root / "run")
    config = DataConfig(format="csv", path=str(root / "labels.csv"))
    seconds = {"first": timed(prepare, run, LABELS, config), "unchanged": timed(prepare, run, LABELS, config)}
    with (root / "labels.csv").open("a", encoding="utf-8") as table:
        for number, data in enumerate(tiny_images(10)):
            (root / f"new{number}.bmp").write_bytes(data)
            table.write(f"new{number}.bmp,a\n")
    seconds["ten_new"] = timed(prepare, run, LABELS, config)
    largest_worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    peak = {"prepare": _peak(), "largest_worker": round(largest_worker, 3)}
    from data.loaders import ViewDataset  # torch, which prepare does without

    peak["torch_imported"] = _peak()
    started = time.perf_counter()
    manifest = Manifest.read(run.manifest, LABELS)
    dataset = ViewDataset(Examples.of_originals(manifest.usable("train"), ViewsConfig()), _pixels)
    dataset[0, 1]
    seconds["load"] = time.perf_counter() - started
    peak["load"] = _peak()
    return {"seconds": {name: round(value, 1) for name, value in seconds.items()}, "peak_gib": peak}


def _peak() -> float:
    """GiB that this process held at most so far. ``ru_maxrss`` would count the process it was forked from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.split("VmHWM:")[1].split()[0]) / 2**20, 3)


def _pixels(image: Image.Image, view: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image, np.uint8)


if __name__ == "__main__":
    main()
