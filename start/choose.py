"""Chooses models, views, batches and targets that suit the hardware and the number of images."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.audit import Promise
from run.usage import usable_cores
from verify.config import VerifyConfig
from verify.ledger import confidence_of_look

CPU_MACS = 25e9
"""Multiplications a second of one core in a transformer's pass, seen on a Xeon at 2.1 GHz without AMX."""
GPU_MACS = 7e12
"""Of a GPU in bf16: a tenth of what an H100 does (docs/benchmarks.md), so that older cards are not overrated."""
STUDENT_IMAGES = 15
"""Images a second and core on which a student of 0.2 GMAC trains, decoding included, on an EPYC without AVX-512."""
GPU_STUDENT_IMAGES = 600
SCRATCH_LR = 4e-3
"""Of a student from random weights: half of it was four points worse, twice of it alike (docs/benchmarks.md)."""
BUDGET_S = {"cpu": 180.0, "gpu": 3600.0}
"""Time for the teacher's passes, and again for the student's epochs, that the choice keeps to where it can."""
VIEWS = (8, 4, 2)
STUDENT = "timm/mobilenetv4_conv_small.e2400_r224_in1k"
TARGETS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Agreements that may be asked for, the strictest first."""
DISAGREEING = 0.05
"""Share of test images on which student and teacher may differ at least: a target that allows fewer is luck."""
CONFIDENCE = confidence_of_look(1, VerifyConfig().confidence)
"""Of the first look at the test images, as ``verify`` will judge them."""


@dataclass(frozen=True)
class Hardware:
    """A machine, as far as the choice of models depends on it."""

    gpu: str | None
    """Its name; null where models run on the CPU."""
    cores: int

    @property
    def macs(self) -> float:
        """Multiplications a second in a teacher's pass."""
        return GPU_MACS if self.gpu else CPU_MACS * self.cores

    @property
    def student_images(self) -> float:
        """Images a second on which a small student trains."""
        return min(GPU_STUDENT_IMAGES, STUDENT_IMAGES * self.cores * (2 if self.gpu else 1))

    def __str__(self) -> str:
        cores = f"{self.cores} cores" if self.cores > 1 else "one core"
        return f"{self.gpu}, {cores}" if self.gpu else f"no GPU, {cores}"


@dataclass(frozen=True)
class Teacher:
    """A model that may be fine-tuned."""

    model: str
    macs: float
    """Multiplications for one image."""


TEACHERS = (
    Teacher("timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", 107e9),
    Teacher("timm/eva02_small_patch14_336.mim_in22k_ft_in1k", 15.5e9),
    Teacher("timm/eva02_tiny_patch14_336.mim_in22k_ft_in1k", 4.7e9),
)
"""The largest first. Numbers of multiplications are timm's."""


@dataclass(frozen=True)
class Sizes:
    """Images by what they are for."""

    train: int
    val: int
    calibration: int
    test: int

    def seen(self, views: int) -> int:
        """Images that go through the teacher, its exported files in calibration and test included."""
        return self.train * views + self.val + 10 * min(self.calibration, 256) + 4 * self.test


@dataclass(frozen=True)
class Choice:
    """Everything that is chosen."""

    teacher: str
    views: int
    student: str
    batch: int
    epochs: int
    lr: float
    ema_decay: float
    agreement: float


def find_hardware() -> Hardware:
    """This machine; without torch installed, its CPU."""
    return Hardware(_gpu(), usable_cores())


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return "Apple GPU" if torch.backends.mps.is_available() else None


def choose(sizes: Sizes, hardware: Hardware, teacher: str | None = None, student: str | None = None) -> Choice:
    """The largest teacher and the most views that the budget allows; epochs for the student in the same way.

    Args:
        teacher: taken whatever it costs, and so is ``student``; null chooses.
    """
    budget = BUDGET_S["gpu" if hardware.gpu else "cpu"]
    known = [one for one in TEACHERS if teacher is None or _same(one.model, teacher)] or [TEACHERS[0]]
    model, views = next(
        ((one, count) for one in known for count in VIEWS if _passes(sizes, one, count, hardware) <= budget),
        (known[-1], VIEWS[-1]),
    )
    batch = _batch(sizes.train)
    steps = max(1, sizes.train // batch)
    epochs = max(10, min(50, int(budget * hardware.student_images / max(1, sizes.train))))
    return Choice(
        teacher=teacher or model.model,
        views=views,
        student=student or STUDENT,
        batch=batch,
        epochs=epochs,
        lr=float(f"{1e-3 * math.sqrt(batch / 128):.1g}"),
        # Averages over the last twentieth of all steps; the default of 0.999 is for thousands of them.
        ema_decay=round(min(0.999, max(0.9, 1 - 20 / (steps * epochs))), 3),
        agreement=_target(sizes.test),
    )


def minutes(sizes: Sizes, hardware: Hardware, teacher: str, views: int, epochs: int) -> float | None:
    """A guess at the time of a run that trains a head on one of ``TEACHERS``, and null for other models.

    Args:
        views: of each training image.
        epochs: of all students together.
    """
    model = next((one for one in TEACHERS if _same(one.model, teacher)), None)
    if model is None:
        return None
    return (_passes(sizes, model, views, hardware) + epochs * sizes.train / hardware.student_images) / 60


def may_differ(test: int, agreement: float) -> int:
    """Test images on which student and teacher may differ at most, where so much agreement is to be shown."""
    return Promise(agreement, CONFIDENCE).may_differ(test) or 0


def teacher_section(choice: Choice, *, from_scratch: bool) -> dict[str, Any]:
    """The config of the teacher; from scratch that is a small model with random weights, trained whole."""
    if not from_scratch:
        return {"model": choice.teacher, "mode": "head"}
    return {
        "model": "eva02_tiny_patch14_224",
        "pretrained": False,
        "image_size": 112,
        "resize": "squash",
        "mode": "full",
        "layer_decay": 1.0,
        "drop_path": 0.0,
        "full": {"epochs": choice.epochs, "batch_size": choice.batch, "lr": 7e-4, "ema_decay": choice.ema_decay},
    }


def student_section(choice: Choice, *, from_scratch: bool) -> dict[str, Any]:
    """The config of the student."""
    lr = SCRATCH_LR if from_scratch else choice.lr
    fit = {"epochs": choice.epochs, "batch_size": choice.batch, "lr": lr, "ema_decay": choice.ema_decay}
    if from_scratch:
        return {"model": "mobilenetv4_conv_small", "pretrained": False, "image_size": 112, "fit": fit}
    return {"model": choice.student, "image_size": 224, "fit": fit}


def _passes(sizes: Sizes, teacher: Teacher, views: int, hardware: Hardware) -> float:
    return sizes.seen(views) * teacher.macs / hardware.macs


def _batch(images: int) -> int:
    """A power of two that leaves eight steps an epoch or more, between 16 and 128."""
    return int(min(128, max(16, 2 ** int(math.log2(max(1, images / 8))))))


def _target(test: int) -> float:
    """The strictest agreement that so many test images can show with some differing."""
    luck = DISAGREEING * test
    return next((target for target in TARGETS if may_differ(test, target) >= luck), TARGETS[-1])


def _same(known: str, given: str) -> bool:
    return Path(known).name.split(".")[0] == Path(given).name.split(".")[0]
