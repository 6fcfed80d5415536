"""The cost of ``prepare``: images/s against a plain Pillow loop, and how time and memory grow with the number of rows.

``python -m benchmarks.prepare [--rows 10000 100000 1000000] [--folders] [--photographs 0]``

The rate is measured on 1,500 JPEG files of 1024 × 768 pixels, each made from photographs of the elpv-dataset package.
The plain loop opens, decodes and converts each file to RGB, in one process and nothing more; ``prepare`` also hashes
bytes and pixels, computes a perceptual hash, finds duplicates, draws splits and writes manifest and audit.

Growth is measured on files of 16 × 16 random pixels, none like another, listed in one CSV file or lying in four label
folders; every size runs in a process of its own, so that its peak memory is its own. ``load`` is reading the manifest
and building the training data set from it.
"""

import argparse
import io
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from data.config import DataConfig, ViewsConfig
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from run.folder import RunFolder

LABELS = LabelSet(("a", "b", "c", "d"), "nominal")
SIZE = (1024, 768)
FOLDER_FILES = 1000
"""Files in one folder: file systems grow slow with many."""


def main() -> None:
    """Measure and print one JSON object."""
    parser = common.parser_of(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folders", action="store_true", help="label folders instead of a table")
    parser.add_argument("--photographs", type=int, default=1500, help="JPEG files that the rate is measured on")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_size(given.one)))
        return
    with common.scratch() as folder:
        rate = rates(folder, given.photographs) if given.photographs else None
        growth = []
        for rows in sorted(given.rows):
            root = folder / str(rows)
            write_tiny(root, rows, folders=given.folders)
            growth.append({"rows": rows, **common.in_own_process("prepare", "--one", str(root))})
            common.say(str(growth[-1]))
    common.report(
        "prepare",
        ratio=round(rate["prepare"] / rate["pillow_loop"], 2) if rate else None,
        against="a plain Pillow loop that only decodes, images/s",
        machine=common.machine(),
        images_per_s=rate,
        growth=growth,
    )


def rates(folder: Path, count: int) -> dict[str, float]:
    """Images/s of both, in turns, the better of three."""
    paths = write_photographs(folder / "photographs", count)
    config = DataConfig(format="folder", path=str(folder / "photographs"))

    def whole() -> float:
        run = RunFolder(Path(tempfile.mkdtemp(dir=folder)))  # a new one: what is prepared would be done already
        return len(paths) / common.timed(lambda: prepare(run, LABELS, config)).seconds

    sides = {"pillow_loop": lambda: len(paths) / common.timed(lambda: pillow_loop(paths)).seconds, "prepare": whole}
    return common.best(common.in_turns(sides, 3))


def pillow_loop(paths: list[Path]) -> None:
    """Decode every file to RGB, as a training script does first."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB")


def write_photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files of 2 × 2 photographs each, in label folders."""
    from tests.support import elpv_rows  # torch again

    sources = [path for path, _ in elpv_rows()]
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
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


def write_tiny(root: Path, rows: int, *, folders: bool) -> None:
    """``rows`` small files that are all different, in label folders, or listed in ``labels.csv``."""
    root.mkdir(parents=True)
    lines = ["image,label\n"]
    for number, data in enumerate(tiny_images(rows)):
        label = LABELS.names[number % len(LABELS)]
        name = f"{number:07}.bmp" if folders else f"{number % FOLDER_FILES:03}.bmp"
        path = root / (label if folders else f"{number // FOLDER_FILES:05}") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        lines.append(f"{path.relative_to(root)},{label}\n")
    if not folders:
        (root / "labels.csv").write_text("".join(lines), encoding="utf-8")


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
    run = RunFolder(root.with_name(f"{root.name}-run"))
    table = root / "labels.csv"
    config = (
        DataConfig(format="csv", path=str(table)) if table.is_file() else DataConfig(format="folder", path=str(root))
    )

    def again() -> float:
        return common.timed(lambda: prepare(run, LABELS, config)).seconds

    seconds = {"first": again(), "unchanged": again()}
    new = [Path("a" if config.format == "folder" else "", f"new{number}.bmp") for number in range(10)]
    for path, data in zip(new, tiny_images(10), strict=True):
        (root / path).write_bytes(data)
    if config.format == "csv":
        with table.open("a", encoding="utf-8") as file:
            file.writelines(f"{path},a\n" for path in new)
    seconds["ten_new"] = again()
    largest_worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    peak = {"prepare": peak_gib(), "largest_worker": round(largest_worker, 3)}
    from data.loaders import ViewDataset  # torch, which prepare does without

    peak["torch_imported"] = peak_gib()
    started = time.perf_counter()
    manifest = Manifest.read(run.manifest, LABELS)
    dataset = ViewDataset(Examples.of_originals(manifest.usable("train"), ViewsConfig()), _pixels)
    dataset[0, 1]
    seconds["load"] = time.perf_counter() - started
    peak["load"] = peak_gib()
    return {"seconds": {name: round(value, 1) for name, value in seconds.items()}, "peak_gib": peak}


def peak_gib() -> float:
    """GiB that this process held at most so far."""
    return round(common.peak_mib() / 1024, 3)


def _pixels(image: Image.Image, view: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image, np.uint8)


if __name__ == "__main__":
    main()
