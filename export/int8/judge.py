"""What an INT8 file is worth: how far it is from its own fp32 on images its quantizer has not seen, and how fast."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from data.config import Kind
from export.int8.config import Int8Config
from export.onnx_graph import labels_of
from export.session import one_inference, open_session, run_one_by_one
from export.timing import race
from models.decision import DecisionRule
from models.outputs import choice, cross_entropy, decisions, divergence, probabilities, same
from run.files import Json

Fit = Callable[[NDArray[np.floating], NDArray[np.floating], DecisionRule], float]
"""Logits [N, C], targets [N, C] and the decision rule to a temperature: ``models.calibration.fit_temperature``."""


class Judge:
    """Compares files with the fp32 file they were made from.

    Args:
        source: the fp32 file.
        pixels: calibration images [N, 3, S, S].
        targets: as ``Manifest.targets`` gives them [N, C].
        labeled: which of the images [N] have a label.
        config: the gate.
        fit: finds a file's own temperature from every labeled image, as that of fp32 was found.
    """

    def __init__(
        self,
        source: Path,
        pixels: NDArray[np.float32],
        targets: NDArray[np.floating],
        labeled: NDArray[np.bool_],
        config: Int8Config,
        fit: Fit,
    ) -> None:
        assert len(pixels) == len(targets) >= 2, "images are needed for the quantizer and for judging"
        order = np.random.default_rng(0).permutation(len(pixels))
        cut = min(config.images, len(pixels) // 2)
        self.pixels = pixels
        self.for_ranges, self.for_judging = order[:cut], np.sort(order[cut:])
        self.logits = run_one_by_one(open_session(source), pixels)
        labels = labels_of(onnx.load(source))
        self.kind = labels.kind
        self._rule = DecisionRule.of(labels)
        self._targets, self._labeled = targets, labeled
        self._source, self._config, self._fit = source, config, fit

    def measure(self, path: Path) -> dict[str, Json]:
        """A row of facts about a file, and ``why_not``: null if it passes the gate.

        ``flips`` of ``n`` judged images, ``flip_rate``, ``largest`` (difference of a probability), ``kl`` (mean
        divergence from fp32 in nats), ``accuracy`` and ``nll`` on the labeled ones among them, the fitted
        ``temperature``, ``ms`` and ``fp32_ms`` (medians of one race), ``bytes``. Times are measured only where the
        rest passes.
        """
        logits = run_one_by_one(open_session(path), self.pixels)
        if not np.isfinite(logits).all():
            return {"why_not": "some logits are not finite"}
        temperature = self._temperature(logits)
        ours, theirs = logits[self.for_judging] / np.float32(temperature), self.logits[self.for_judging]
        facts: dict[str, Json] = {
            **divergence_facts(ours, theirs, self.kind),
            **self._quality(ours),
            "temperature": temperature,
            "bytes": path.stat().st_size,
            "fp32_ms": None,
            "ms": None,
        }
        flips, n = count_flips(ours, theirs, self.kind), len(ours)
        if flips > self._config.max_flip_rate * n:
            allowed = f"max_flip_rate {self._config.max_flip_rate:g}"
            return {**facts, "why_not": f"{flips} of {n} images change their {choice(self.kind)}, more than {allowed}"}
        fp32_ms, ms = race([one_inference(path, self.pixels[:1]) for path in (self._source, path)])
        facts |= {"fp32_ms": fp32_ms, "ms": ms}
        if ms * self._config.min_speedup >= fp32_ms:
            return {**facts, "why_not": f"{ms:.2f} ms an image against {fp32_ms:.2f} ms in fp32: not fast enough"}
        return {**facts, "why_not": None}

    def fp32(self) -> dict[str, Json]:
        """``accuracy``, ``nll`` and ``bytes`` of the fp32 file, on the judged images."""
        return {**self._quality(self.logits[self.for_judging]), "bytes": self._source.stat().st_size}

    def _temperature(self, logits: NDArray[np.float32]) -> float:
        """One over all labeled images; 1 where there are none."""
        if not self._labeled.any():
            return 1.0
        return self._fit(logits[self._labeled], self._targets[self._labeled], self._rule)

    def _quality(self, judged: NDArray[np.float32]) -> dict[str, Json]:
        """Of logits [n, C] on the judged images: how many decide as their label does, and cross-entropy in nats."""
        targets, labeled = self._targets[self.for_judging], self._labeled[self.for_judging]
        if not labeled.any():
            return {"labeled": 0, "accuracy": None, "nll": None}
        logits, targets = judged[labeled], targets[labeled]
        right = same(decisions(probabilities(logits, self.kind), self.kind), decisions(targets, self.kind))
        return {
            "labeled": len(logits),
            "accuracy": float(right.mean()),
            "nll": cross_entropy(logits, targets, self.kind),
        }


def divergence_facts(ours: NDArray[np.float32], theirs: NDArray[np.float32], kind: Kind) -> dict[str, Json]:
    """How far logits [n, C] are from those of fp32.

    Returns:
        ``n``, ``flips`` (images on which something else is decided), ``flip_rate``, ``largest`` (difference of a
        probability) and ``kl`` (mean divergence in nats).
    """
    flips = count_flips(ours, theirs, kind)
    return {
        "n": len(ours),
        "flips": flips,
        "flip_rate": flips / len(ours),
        "largest": float(np.abs(probabilities(ours, kind) - probabilities(theirs, kind)).max()),
        "kl": divergence(ours, theirs, kind),
    }


def count_flips(ours: NDArray[np.float32], theirs: NDArray[np.float32], kind: Kind) -> int:
    """On how many images two models' logits [n, C] do not decide the same."""
    left, right = (decisions(probabilities(logits, kind), kind) for logits in (ours, theirs))
    return int((~same(left, right)).sum())
