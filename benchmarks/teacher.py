"""The teacher's pass: how its precision, its batches, compiling it and its memory format change its speed.

``python -m benchmarks.teacher [--model eva02_base_patch14_448 --size 448] [--batches 1 4 16]``

Every setting runs the product's own pass, ``models.forward``, over images that are ready in the main memory: copied to
the device, normalized, run, and the features fetched. Settings take turns; the best turn of each counts. Each differs
in one thing from what the product chooses by itself (``trainer.precision: auto``, ``frozen_batch_size: auto``), or with
``--everything`` all are combined. Compiling happens before the first turn and is counted apart.

``share_of_peak`` is the arithmetic of the model, as torch counts it, over what the device does in one large bf16 matrix
product, measured in the same run (on a CPU without bf16 units a small number of operations, so a share may pass 1).
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import common, material
from models.classifier import Classifier
from models.device import device_of, precision_for
from models.forward import FrozenForward, forward_of, in_order
from run.config import TrainerConfig


@dataclass(frozen=True)
class Setting:
    """One way to run the pass."""

    precision: str
    batch: int
    compiled: bool = False
    channels_last: bool = False

    def __str__(self) -> str:
        extras = [name for name in ("compiled", "channels_last") if getattr(self, name)]
        return ", ".join([self.precision, f"batch {self.batch}", *extras])


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size", "turns", *common.TRAINER, turns=3)
    parser.add_argument("--batches", type=int, nargs="+", help="1 4 16 on a CPU, 16 32 64 128 256 on a GPU")
    parser.add_argument("--images", type=int, help="in one turn of a setting; 16 on a CPU, 4096 on a GPU")
    parser.add_argument("--no-compile", action="store_true", help="leave out compiled models")
    parser.add_argument("--everything", action="store_true", help="all combinations")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    device = device_of(trainer)
    on_gpu = device.type == "cuda"
    classifier = material.untrained(given.model, given.size)
    precision = precision_for(classifier.model, trainer)
    chosen = Setting(precision, forward_of(classifier, "features", trainer, precision).batch_size)
    batches = given.batches or ([16, 32, 64, 128, 256] if on_gpu else [1, 4, 16])
    settings = settings_around(chosen, batches, compiling=not given.no_compile, everything=given.everything)
    peak = matrix_peak(device)
    operations = operations_each(classifier)
    warming, rates = measured(settings, given, trainer, given.images or (4096 if on_gpu else 16))
    fastest = max(rates, key=lambda name: rates[name])
    common.report(
        "teacher",
        ratio=round(rates[str(chosen)] / rates[fastest], 3),
        against="the fastest of all settings, images/s; the first is what the product chooses by itself",
        machine=common.torch_machine(trainer),
        model=f"{given.model} at {given.size}, random weights",
        chosen=str(chosen),
        fastest=fastest,
        images_per_s=rates,
        gmacs_per_image=round(operations / 2e9, 1),
        bf16_matrix_peak_tflops=round(peak / 1e12, 2),
        share_of_peak={name: round(rate * operations / peak, 3) for name, rate in rates.items()},
        seconds_to_first_batch=warming,
    )


def measured(
    settings: Sequence[Setting], given: argparse.Namespace, trainer: TrainerConfig, count: int
) -> tuple[dict[str, float], dict[str, float]]:
    """By setting: the seconds until its first batch was done, compiling included, and images/s from then on."""
    models = {channels_last: material.untrained(given.model, given.size) for channels_last in (False, True)}
    models[True].model.to(memory_format=torch.channels_last)
    most = max(setting.batch for setting in settings)
    images = torch.randint(0, 256, (most, 3, given.size, given.size), dtype=torch.uint8)
    images = images.pin_memory() if torch.cuda.is_available() else images
    warming: dict[str, float] = {}
    sides: dict[str, Callable[[], float]] = {}
    for setting in settings:
        forward = forward_in(setting, models[setting.channels_last], trainer)
        batch = setting.batch
        warming[str(setting)] = round(common.timed(partial(passed, forward, images, batch, batch)).seconds, 1)
        common.say(f"{setting}: first batch after {warming[str(setting)]} s")
        sides[str(setting)] = rate_of(forward, images, batch, count)
    return warming, common.best(common.in_turns(sides, given.turns))


def settings_around(chosen: Setting, batches: Sequence[int], *, compiling: bool, everything: bool) -> list[Setting]:
    """The settings to measure: the choice itself first, then what differs from it."""
    precisions = sorted({"32-true", "bf16-mixed", chosen.precision})
    sizes = sorted({*batches, chosen.batch})
    flags = [False, True] if compiling else [False]
    if everything:
        found = [Setting(*values) for values in product(precisions, sizes, flags, [False, True])]
    else:
        found = [replace(chosen, precision=precision) for precision in precisions]
        found += [replace(chosen, batch=batch) for batch in sizes]
        found += [replace(chosen, channels_last=True)]
        found += [replace(chosen, compiled=compiled) for compiled in flags]
    return list(dict.fromkeys([chosen, *found]))


def forward_in(setting: Setting, classifier: Classifier, trainer: TrainerConfig) -> FrozenForward:
    """The product's pass in this setting."""
    told = replace(trainer, frozen_batch_size=setting.batch, compile_frozen=setting.compiled)
    return forward_of(classifier, "features", told, setting.precision)


def rate_of(forward: FrozenForward, images: Tensor, batch: int, count: int) -> Callable[[], float]:
    """Measures images/s over at least ``count`` images in full batches."""
    whole = -(-count // batch) * batch
    return lambda: whole / common.timed(lambda: passed(forward, images, batch, whole)).seconds


def passed(forward: FrozenForward, images: Tensor, batch: int, count: int) -> None:
    """The pass over ``count`` images, the same ones again and again."""
    for _ in in_order(forward, (images[:batch] for _ in range(count // batch))):
        pass


def operations_each(classifier: Classifier) -> int:
    """Floating-point operations for one image, two for each multiply-accumulate."""
    device = next(classifier.model.parameters()).device
    size = classifier.spec.size
    # Attention as plain products: torch's counter knows not every kernel of it, in 2.11 none of the CPU's.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.inference_mode(), plain, FlopCounterMode(display=False) as counter:
        classifier.features(torch.zeros(1, 3, size, size, device=device))
    return int(counter.get_total_flops())


def matrix_peak(device: torch.device, seconds: float = 2.0) -> float:
    """Operations per second of bf16 matrix products: the best of as many as fit into some seconds."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    fastest = float("inf")
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        fastest = min(fastest, common.timed(lambda: [left @ right for _ in range(10)]).seconds / 10)
    return 2 * side**3 / fastest


if __name__ == "__main__":
    common.start_like_the_product()
    main()
