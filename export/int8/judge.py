"""The gate of INT8 files: distance from their own fp32 on images their quantizer has not seen, and speed."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from data.bounds import upper_bound
from export.divergence import Divergence
from export.images import Pixels, logits_of
from export.int8.config import Int8Config
from export.int8.result import Candidate, FailedRow, Fp32Row, Gate, Quality, Row
from export.metadata import read_contract
from export.onnx_graph import metadata_of
from export.points.fitter import RuleFitter
from export.session import one_inference
from export.timing import race
from models.calibration import fit_temperature
from models.decision import DecisionRule
from run.errors import UserError

SENSITIVITY_IMAGES = 64
"""Images on which the cost of a single layer is measured."""


@dataclass(frozen=True)
class SweepImages:
    """Images that ranges are taken from, and others that files are judged on: ranges fit their own images.

    Args:
        ranges: [M, 3, S, S].
        judged: independent of each other [N, 3, S, S].
        targets: of the judged ones, as ``Manifest.targets`` gives them [N, C].
        labeled: judged images [N] that have a label.
    """

    ranges: Pixels
    judged: Pixels
    targets: NDArray[np.floating]
    labeled: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert len(self.judged) == len(self.targets) == len(self.labeled)


class Judge:
    """Compares files with the fp32 file they were made from.

    Args:
        source: the fp32 file.
        images: at least as many judged ones as ``config`` takes.
        tries: the number of files that may be measured in all.
        fitter: fits each candidate's own decision rule; null takes that of the fp32 file.
    """

    def __init__(
        self, source: Path, images: SweepImages, config: Int8Config, tries: int, fitter: RuleFitter | None = None
    ) -> None:
        self.images = images
        self.gate = Gate.of(config, tries)
        self.logits = logits_of(source, images.judged)
        self.rule = read_contract(metadata_of(onnx.load(source)), source).rule
        self._source = source
        self._fitter = fitter

    def measure(self, path: Path, candidate: Candidate) -> Row | FailedRow:
        """Measure a candidate's file; times only where it is close enough to fp32."""
        logits = logits_of(path, self.images.judged)
        if not np.isfinite(logits).all():
            return FailedRow(**asdict(candidate), why_not="some logits are not finite")
        # Judged with its own temperature, as it will be shipped.
        temperature = self._temperature(logits)
        ours = logits / np.float32(temperature)
        try:
            own = self.own_rule(path, temperature)
        except UserError as error:
            return FailedRow(**asdict(candidate), why_not=str(error))
        divergence = Divergence.of(ours, self.logits, self.rule, own)
        row = Row(
            **asdict(candidate),
            **asdict(divergence),
            **asdict(self._quality(ours)),
            most_flips=upper_bound(divergence.flips, divergence.n, self.gate.confidence),
            temperature=temperature,
            bytes=path.stat().st_size,
        )
        if row.most_flips > self.gate.max_flip_rate:
            return replace(row, why_not=f"{row.shown(self.rule.answer)}, above {self.gate.max_flip_rate:.2%}")
        # Both in one race: times of another minute cannot be compared.
        fp32_ms, ms = race([one_inference(file, self.images.judged[:1]) for file in (self._source, path)])
        slow = f"{ms:.2f} ms an image against {fp32_ms:.2f} ms in fp32: not fast enough"
        fast = ms * self.gate.min_speedup < fp32_ms
        return replace(row, fp32_ms=fp32_ms, ms=ms, why_not=None if fast else slow)

    def own_rule(self, path: Path, temperature: float = 1.0) -> DecisionRule:
        """The rule that a file would ship with, its logits divided by a temperature.

        Raises:
            UserError: it cannot keep an operating point.
        """
        return self.rule if self._fitter is None else self._fitter.fit(path, temperature).rule

    def fp32(self) -> Fp32Row:
        """The fp32 file on the judged images."""
        return Fp32Row(**asdict(self._quality(self.logits)), bytes=self._source.stat().st_size)

    def cost(self, path: Path) -> float:
        """Divergence in nats of a file from fp32, on images of the ranges."""
        return self.rule.divergence(logits_of(path, self._looked_at), self._expected)

    @cached_property
    def _looked_at(self) -> NDArray[np.float32]:
        return self.images.ranges[:SENSITIVITY_IMAGES]

    @cached_property
    def _expected(self) -> NDArray[np.float32]:
        return logits_of(self._source, self._looked_at)

    def _temperature(self, logits: NDArray[np.float32]) -> float:
        """One over all labeled images, as that of fp32 was fitted; 1 where there are none, or none fits best."""
        labeled = self.images.labeled
        if not labeled.any():
            return 1.0
        fitted = fit_temperature(logits[labeled], self.images.targets[labeled], self.rule)
        return 1.0 if fitted is None else fitted

    def _quality(self, judged: NDArray[np.float32]) -> Quality:
        """Quality of logits [n, C] on the judged images."""
        # Where votes tie, no label is the true one: such an image has a cross-entropy, and is neither right nor wrong.
        labeled = self.images.labeled
        if not labeled.any():
            return Quality(labeled=0, accuracy=None, nll=None)
        labels = self.rule.labels
        told = labels.has_truth(self.images.targets) & labeled
        decided = self.rule.decide(self.rule.probabilities(judged[told]))
        right = self.rule.same(decided, labels.truth(self.images.targets[told]))
        return Quality(
            labeled=int(told.sum()),
            accuracy=float(right.mean()) if told.any() else None,
            nll=self.rule.cross_entropy(judged[labeled], self.images.targets[labeled]),
        )
