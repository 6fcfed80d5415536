"""Config section of a student."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from data.config import Kind
from fitting.config import FitConfig
from run.config import PLAIN_NAME, UnknownValueError, checking, is_plain_name, plain_name

Loss = Literal["kl", "standardized_kl", "dist", "dkd", "labels"]
LOSSES_FOR: Mapping[Kind, tuple[Loss, ...]] = {
    "nominal": get_args(Loss),
    "ordinal": get_args(Loss),
    "multilabel": ("kl", "labels"),
}
"""The losses that are defined for each kind of label set."""
TESTED: Mapping[str, float] = {
    "mobilenetv4_conv_small": 2.5,
    "mobilenetv4_conv_small_050": 1.0,
    "mobilenetv4_conv_medium": 8.4,
    "tf_efficientnet_lite0": 3.4,
    "repvit_m0_9": 4.7,
    "mobileone_s0": 4.3,
    "fastvit_t8": 3.3,
    "tiny_vit_5m_224": 5.1,
    "mobilenetv3_small_100": 1.5,
}
"""The students that are tested, by timm's name: millions of weights with a head for a few labels. ``docs/students.md``
has their speed."""
ACROSS_IMAGES: frozenset[Loss] = frozenset({"dist"})
"""The losses that compare the images of a batch with each other, so that a batch cannot go through in parts."""


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """A small model to distil the teacher into."""

    name: str = ""
    """Names its folders and repositories: letters, digits, dots, dashes and underscores. Empty takes the model's name
    and ``image_size``, as in ``mobilenetv4_conv_small-224``."""
    model: str = "mobilenetv4_conv_small"
    """A timm name, a Hub id, or a folder; see ``teacher.model``."""
    pretrained: bool = True
    """Start from the model's weights; false starts from random ones."""
    image_size: int = 224
    """Pixels a side. The student always sees the whole image, squashed into a square."""
    loss: Loss = "kl"
    """The distillation loss, beside the labels' own. ``kl``: the teacher's probabilities. ``standardized_kl``: its
    logits without their scale. ``dist``: their correlations, for students much smaller than the teacher. ``dkd``: its
    first choice and the rest, weighed apart. ``labels``: nothing, so that the teacher teaches nothing. A multilabel set
    takes ``kl`` (one label at a time) or ``labels``."""
    temperature: float = 1.0
    """Softens teacher and student alike in the distillation loss."""
    label_weight: float = 0.2
    """Weight of the labels' cross-entropy beside the distillation loss, on labeled images."""
    live: float = 0.0
    """Share of the student's epochs, the last ones, in which the teacher runs on fresh views instead of being read from
    the cache; 1 makes all of them live."""
    mixup: float = 0.0
    """In live epochs images are blended in pairs, with shares from Beta(mixup, mixup); 0 never blends."""
    erasing: float = 0.0
    """Share of the student's training images with a rectangle in one color, after the teacher has seen the whole."""
    baseline: bool = False
    """Train the same model on the labels alone as well, for as many steps, and say what distillation added."""
    fit: FitConfig = FitConfig(epochs=50, batch_size=128, lr=1e-3, ema_decay=0.999)
    """Its optimization."""

    @property
    def live_from(self) -> int:
        """The first epoch, counted from 0, with a live teacher; ``fit.epochs`` if there is none."""
        live = math.ceil(round(self.fit.epochs * self.live, 6))  # rounded first: 0.1 * 30 is a little over 3
        return self.fit.epochs - live

    @property
    def baseline_name(self) -> str:
        """The name of ``as_baseline``."""
        return f"{self.name}-baseline"

    def as_baseline(self) -> "StudentConfig":
        """The same student, trained on the labels alone."""
        return replace(self, name=self.baseline_name, loss="labels", live=0.0, mixup=0.0, baseline=False)

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            if not self.name:
                object.__setattr__(self, "name", plain_name(f"{Path(self.model).name.split('.')[0]}-{self.image_size}"))
        with checking(self) as require:
            plain = f"{PLAIN_NAME}, and not teacher"
            require(
                "name", lambda: not self.name or (is_plain_name(self.name) and self.name.lower() != "teacher"), plain
            )
            require("name", lambda: not self.name.lower().endswith("-onnx"), "without -onnx at its end")
            require("image_size", lambda: self.image_size >= 1, "1 or more")
            require("temperature", lambda: self.temperature > 0, "above 0")
            require("label_weight", lambda: self.label_weight >= 0, "0 or more")
            require("live", lambda: 0 <= self.live <= 1, "between 0 and 1")
            unasked = "0 where loss is labels: no teacher is asked"
            require("live", lambda: self.live == 0 or self.loss != "labels", unasked)
            require("erasing", lambda: 0 <= self.erasing <= 1, "between 0 and 1")
            require("mixup", lambda: 0 <= self.mixup < math.inf, "0 or more, and finite")
            unblended = "0 where live is 0: the cache holds answers to single images"
            require("mixup", lambda: self.mixup == 0 or self.live > 0, unblended)
