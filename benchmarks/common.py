"""Shared by the benchmarks: options, the clock, the machine, and the line of JSON that each prints last.

Nothing here imports torch before it is asked for: ``benchmarks.prepare`` measures memory that must not hold it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from run.config import TrainerConfig
from run.usage import limit_threads, usable_cores

T = TypeVar("T")

TRAINER = ("accelerator", "precision", "workers")
_SHARED: dict[str, dict[str, Any]] = {
    "model": {"default": "eva02_base_patch14_448"},
    "size": {"type": int, "default": 448, "help": "the model's input, in pixels"},
    "pixels": {"type": int, "nargs": 2, "default": (1024, 768), "help": "width and height of the image files"},
    "views": {"type": int, "help": "of each training image"},
    "turns": {"type": int, "help": "that every side takes"},
    "seeds": {"type": int, "default": 3, "help": "students of each kind"},
    "teacher-epochs": {"type": int, "help": "3 for elpv and 5 for digits by default"},
    "quick": {"action": "store_true", "help": "few turns, to see that it runs: the times mean little"},
    "accelerator": {"default": "auto", "choices": ("auto", "cpu", "gpu")},
    "precision": {"default": "auto", "choices": ("auto", "32-true", "bf16-mixed")},
    "workers": {"type": int, "help": "processes that read images; by default as many as the product takes"},
}


def parser_of(doc: str | None, *shared: str, **defaults: object) -> argparse.ArgumentParser:
    """A parser with some of the options that several benchmarks have.

    Args:
        doc: the script's docstring.
        shared: the options' names; ``*TRAINER`` are those that ``trainer_of`` reads.
        defaults: other defaults for them.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in shared:
        parser.add_argument(f"--{name}", **_SHARED[name])
    parser.set_defaults(**defaults)
    return parser


def trainer_of(given: argparse.Namespace) -> TrainerConfig:
    """The product's trainer config from the options ``TRAINER``."""
    trainer = TrainerConfig(accelerator=given.accelerator, devices=1, precision=given.precision)
    return trainer if given.workers is None else replace(trainer, num_workers=given.workers)


def report(name: str, *, ratio: float | None, against: str, machine: str, **figures: object) -> None:
    """Print the line of JSON.

    Args:
        name: of the benchmark.
        ratio: the claim in one number.
        against: the other side of the ratio.
        machine: the one it was measured on.
        figures: the raw ones.
    """
    print(json.dumps({"name": name, "ratio": ratio, "against": against, "machine": machine, **figures}))


def machine() -> str:
    """Processor, cores and runtime."""
    import onnxruntime

    from export.runtime import processor

    return f"{processor()}, {usable_cores()} cores, onnxruntime {onnxruntime.__version__}"


def torch_machine(trainer: TrainerConfig) -> str:
    """``machine``, torch, the precision of transformers, and the GPU where one is used."""
    import torch

    from models.device import resolve_precision

    used = trainer.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if used else f"{torch.get_num_threads()} threads"
    precision = resolve_precision(trainer, convolutional=False)
    return f"{machine()}, torch {torch.__version__}, {precision}, {device}"


def start_like_the_product() -> None:
    """Begin again with the environment that ``pocketeva.py`` sets before torch loads: threads that wait soon sleep."""
    limit_threads()
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pocketeva-benchmark-") as folder:
        yield Path(folder)


def say(message: str) -> None:
    """Print progress on standard error."""
    sys.stderr.write(f"{message}\n")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A call's result and seconds."""

    value: T
    seconds: float


def timed(function: Callable[[], T]) -> Timed[T]:
    """Call and wait until the GPU, if there is one, has done its work too."""
    _wait_for_gpu()
    started = time.perf_counter()
    value = function()
    _wait_for_gpu()
    return Timed(value, time.perf_counter() - started)


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def core_counts() -> list[int]:
    """1, 2, 4 and so on, and all cores that this process may use."""
    cores = usable_cores()
    return sorted({2**power for power in range(cores.bit_length()) if 2**power < cores} | {cores})


def in_turns(sides: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Measure all sides one after the other, so many times: what slows the machine slows all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns):
        for name, measure in sides.items():
            found[name].append(measure())
        say(f"turn {turn + 1}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in found.items()))
    return found


def best(found: Mapping[str, list[float]]) -> dict[str, float]:
    """The highest rate of each side."""
    return {name: round(max(values), 2) for name, values in found.items()}


def in_own_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark of this folder for one of its parts; the JSON on its last line."""
    command = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peak_mib() -> float:
    """MiB that this process has held at most.

    On Linux from its status: what ``getrusage`` says there, a process inherits from the one that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return round(int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)  # bytes on macOS
