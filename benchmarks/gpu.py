"""Every figure that needs a GPU, in one command of a few minutes.

``python -m benchmarks.gpu`` on a machine with one; ``--accelerator cpu --toy`` shows on any machine that it runs.

* ``pass``: the frozen teacher over ready tensors, eager and compiled, and its share of the card's measured bf16 peak.
* ``files``: the same pass as ``train`` makes it: decode JPEG files, render their views, run the model, write the cache.
* ``step``: a step of fine-tuning in full, with LoRA and of the last blocks, with and without timm's activation
  checkpointing; images/s and peak memory.
* ``epoch``: ``benchmarks.epoch``, a student's epoch from the cache beside plain labels and a live teacher.
* ``halving``: a pass whose batch does not fit goes on with smaller ones, and gives the same numbers.
* ``split``: a fit whose batch does not fit goes on with parts of it.
* ``provider``: ``benchmarks.provider``, a student's float32, fp16 and INT8 files under ONNX Runtime's GPU provider,
  where ``onnxruntime-gpu`` is installed.

Weights are random: speed and memory do not depend on them. A part's figures go to standard error as soon as they are
there, so that a machine that is taken away takes only what was not measured yet.
"""

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
import torch
from torch.utils.data import Dataset

from benchmarks import common, material
from benchmarks.provider import CPU, absent
from benchmarks.steps import optimizer_of, teacher_in
from benchmarks.teacher import Setting, forward_in, matrix_peak, operations_each, passed, rate_of
from cache.frozen import FrozenModel
from data.examples import Examples
from data.loaders import EpochSampler, Item, train_loader, whole_image_loader
from fitting.config import FitConfig
from fitting.fit import FitRequest, fit
from fitting.micro_batch import NAME
from fitting.module import Batch
from models.device import device_of, precision_for
from models.facts import Mode
from models.forward import forward_of
from run.config import TrainerConfig
from run.files import read_json
from train.module import TeacherModule

Figures = dict[str, Any]

SECONDS = 15.0
"""Of a turn of ``pass``."""
FIT_GIB = 8.0
"""Memory left to the fit of ``split``: too little for 32 images of EVA-02 base at 448 px."""


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "pixels", "views", *common.TRAINER, views=4)
    parser.add_argument("--images", type=int, default=4096, help="in one turn of the pass over tensors")
    parser.add_argument("--files", type=int, default=1024, help="JPEG files for the pass over files")
    parser.add_argument("--batch-size", type=int, default=32, help="of full fine-tuning")
    parser.add_argument("--steps", type=int, default=20, help="of full fine-tuning")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which no part is begun: one takes up to two")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--toy", action="store_true", help="a tiny model and few images: shows that it runs")
    given = parser.parse_args()
    if given.toy:
        tiny = {"model": "test_vit", "size": 32, "images": 8, "files": 4, "batch_size": 4, "steps": 2, "views": 2}
        vars(given).update(tiny)
    return given


def main() -> None:
    """Measure every part and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    figures: Figures = {}
    started = time.perf_counter()
    for name in given.parts:
        spent = time.perf_counter() - started
        if spent > 60 * given.minutes:
            figures[name] = {"why_not": f"{given.minutes:g} minutes were over; give it alone (--parts {name})"}
        else:
            figures[name] = tried(PARTS[name], given, trainer)
        common.say(f"{name}: {json.dumps(figures[name])}")
    measured = figures.get("pass", {})
    common.report(
        "gpu",
        ratio=measured.get("share_of_peak", {}).get("eager"),
        against="the card's own bf16 matrix product, operations/s; the eager pass over ready tensors",
        machine=common.torch_machine(trainer),
        model=f"{given.model} at {given.size}, random weights",
        **figures,
    )


def tried(part: "Part", given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """A part's figures, or what it ended in: the other parts have theirs all the same."""
    try:
        return part(given, trainer)
    except (RuntimeError, subprocess.CalledProcessError) as error:  # torch's errors of a GPU are RuntimeErrors
        return {"why_not": str(error).splitlines()[0]}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def measure_pass(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """Images/s of the frozen teacher over ready tensors, in the batches that the product chooses."""
    classifier = material.untrained(given.model, given.size)
    operations = operations_each(classifier)
    precision = precision_for(classifier.model, trainer)
    batch = min(given.images, forward_of(classifier, "features", trainer, precision).batch_size)
    images = torch.randint(0, 256, (batch, 3, given.size, given.size), dtype=torch.uint8)
    images = images.pin_memory() if torch.cuda.is_available() else images
    rates: dict[str, float] = {}
    first: dict[str, float] = {}
    for name, compiled in {"eager": False, "compiled": True}.items():
        forward = forward_in(Setting(precision, batch, compiled), classifier, trainer)
        first[name] = round(common.timed(partial(passed, forward, images, batch, batch)).seconds, 1)
        # Over as many images as a fast card is given, or fewer on one that would take longer.
        count = min(given.images, int(SECONDS * rate_of(forward, images, batch, batch)()))
        measure = rate_of(forward, images, batch, count)
        rates[name] = round(max(measure() for _ in range(3)), 1)
    peak = matrix_peak(device_of(trainer))
    return {
        "precision": precision,
        "batch": batch,
        "images_per_s": rates,
        "seconds_to_first_batch": first,
        "gmacs_per_image": round(operations / 2e9, 1),
        "bf16_matrix_peak_tflops": round(peak / 1e12, 1),
        "share_of_peak": {name: round(rate * operations / peak, 3) for name, rate in rates.items()},
    }


def measure_files(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """Images × views/s of filling an empty cache from JPEG files."""
    with common.scratch() as folder:
        paths = material.write_photographs(folder / "images", min(256, given.files), tuple(given.pixels))
        rows = material.synthetic_manifest(paths, {"train": given.files})
        teacher = FrozenModel(
            material.untrained(given.model, given.size), "features", material.context_of(folder, trainer)
        )
        teacher.forward(torch.zeros(1, 3, given.size, given.size, dtype=torch.uint8))  # puts the model on its device
        filled = common.timed(lambda: teacher.compute_outputs(Examples(rows, material.SPEC), given.views))
    total = given.files * given.views
    return {
        "files": given.files,
        "pixels": list(given.pixels),
        "views": given.views,
        "workers": trainer.workers,
        "images_x_views_per_s": round(total / filled.seconds, 1),
    }


STEPS: dict[str, tuple[Mode, bool]] = {
    "plain": ("full", False),
    "checkpointing": ("full", True),
    "lora": ("lora", False),
    "lora_checkpointing": ("lora", True),
    "last_blocks": ("last_blocks", False),
}
"""By figure, the mode and whether activations are computed again."""


def measure_step(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """Images/s and peak memory of a step in each of ``STEPS``."""
    found: Figures = {"batch": given.batch_size}
    for name, (mode, checkpointing) in STEPS.items():
        try:
            found[name] = fine_tuning(given, trainer, mode, checkpointing=checkpointing)
        except torch.OutOfMemoryError:
            found[name] = "out of memory"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return found


def fine_tuning(given: argparse.Namespace, trainer: TrainerConfig, mode: Mode, *, checkpointing: bool) -> Figures:
    """One setting of ``measure_step``: the product's own loss and parameter groups, in a plain loop."""
    classifier = material.untrained(given.model, given.size)
    module = teacher_in(mode, classifier, checkpointing=checkpointing)
    device = device_of(trainer)
    module.to(device).train()
    optimizer = optimizer_of(module)
    batch: Batch = {
        "image": torch.randint(0, 256, (given.batch_size, 3, given.size, given.size), dtype=torch.uint8, device=device),
        "target": torch.eye(len(classifier.labels), device=device)[torch.arange(given.batch_size) % 4],
    }
    lower = precision_for(classifier.model, trainer) == "bf16-mixed"

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=lower):
            loss = module.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def steps() -> None:
        for _ in range(given.steps):
            step()

    step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = common.timed(steps).seconds
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else math.nan
    return {
        "images_per_s": round(given.batch_size * given.steps / seconds, 1),
        "peak_gib": None if math.isnan(peak) else round(peak, 2),
    }


def measure_epoch(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """``benchmarks.epoch`` with a GPU's numbers of images, in a process of its own."""
    sizes = {"images": 4096, "batch-size": 128, "live-images": 512, "live-batch-size": 64, "turns": 2}
    if given.toy:
        sizes = {"images": 16, "batch-size": 4, "live-images": 4, "live-batch-size": 2, "turns": 1}
        sizes |= {"student-size": 64, "teacher-size": 32}
    arguments = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    models = ["--student", "test_efficientnet", "--teacher", "test_vit"] if given.toy else ["--teacher", given.model]
    found = common.in_own_process("epoch", *arguments, *models, "--accelerator", given.accelerator)
    kept = ("ratio", "live_over_plain_per_image", "live_over_cached_per_image", "images", "images_per_s")
    return {name: found[name] for name in kept}


def measure_provider(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """``benchmarks.provider`` for a student, in a process of its own."""
    provider = "CUDAExecutionProvider" if device_of(trainer).type == "cuda" else CPU
    if provider not in ort.get_available_providers():
        return {"why_not": absent(provider)}
    sizes = ["--model", "test_efficientnet", "--size", "32"] if given.toy else []
    found = common.in_own_process("provider", "--provider", provider, *sizes)
    return {name: found[name] for name in ("ratio", "model", "provider", "files")}


def measure_halving(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """A batch that the GPU's memory does not hold, made so by a limit on this process's share of it."""
    if device_of(trainer).type != "cuda":
        return {"why_not": "there is no GPU here"}
    classifier = material.untrained(given.model, given.size)
    precision = precision_for(classifier.model, trainer)
    images = torch.randint(0, 256, (256, 3, given.size, given.size), dtype=torch.uint8)
    forward = forward_of(classifier, "features", replace(trainer, frozen_batch_size=256), precision)
    expected = forward_of(classifier, "features", replace(trainer, frozen_batch_size=8), precision)(images)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(2.5 * 2**30 / total)
    try:
        found = forward(images)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {
        "limit_gib": 2.5,
        "free_gib": round(free / 2**30, 1),
        "batch_asked": 256,
        "batch_that_fit": forward.holds,
        "largest_difference": float(np.abs(found - expected).max()),
        "largest_value": float(np.abs(expected).max()),
    }


def measure_split(given: argparse.Namespace, trainer: TrainerConfig) -> Figures:
    """A fit of a few steps; on a GPU in a process that is left too little memory for its batch."""
    classifier = material.untrained(given.model, given.size)
    config = FitConfig(epochs=1, batch_size=given.batch_size, lr=1e-4)
    module = TeacherModule(classifier, config, torch.ones(len(classifier.labels)), 0.75, checkpointing="auto")
    limited = device_of(trainer).type == "cuda"
    with common.scratch() as folder:
        request = FitRequest(
            module=module,
            learned=train_loader(
                Noise(given.size), EpochSampler(3 * given.batch_size, None, 0), batch_size=given.batch_size, workers=0
            ),
            held_out=whole_image_loader(Noise(given.size), 1, batch_size=1, workers=0),
            name="teacher",
            folder=folder,
            precision=precision_for(classifier.model, trainer),
        )
        if limited:
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(min(1.0, FIT_GIB * 2**30 / torch.cuda.mem_get_info()[1]))
        try:
            seconds = common.timed(lambda: fit(request, material.context_of(folder, trainer))).seconds
        finally:
            if limited:
                torch.cuda.set_per_process_memory_fraction(1.0)
        splits = read_json(folder / NAME) or []
    return {
        "limit_gib": FIT_GIB if limited else None,
        "batch": given.batch_size,
        "splits": splits,
        "seconds_for_three_steps": round(seconds, 1),
    }


class Noise(Dataset[dict[str, Any]]):
    """Images of random pixels, labeled in turn."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __getitem__(self, item: Item) -> dict[str, Any]:
        row, _ = item
        pixels = torch.randint(0, 256, (3, self._size, self._size), dtype=torch.uint8)
        target = torch.eye(len(material.LABELS))[row % len(material.LABELS)]
        return {"image": pixels, "target": target, "image_id": str(row)}


Part: TypeAlias = Callable[[argparse.Namespace, TrainerConfig], Figures]

PARTS: dict[str, Part] = {
    "pass": measure_pass,
    "files": measure_files,
    "step": measure_step,
    "halving": measure_halving,
    "split": measure_split,
    "provider": measure_provider,
    "epoch": measure_epoch,
}


if __name__ == "__main__":
    common.start_like_the_product()
    main()
