"""The gate of INT8 files: distance from their own fp32 on images their quantizer has not seen, and speed."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.divergence import Divergence
from export.int8.config import Int8Config
from export.int8.result import Candidate, FailedRow, Fp32Row, Quality, Row
from export.metadata import read_contract
from export.onnx_graph import metadata_of
from export.session import one_inference, open_session, run_one_by_one
from export.timing import race
from models.calibration import fit_temperature


@dataclass(frozen=True)
class CalibrationImages:
    """Images that ranges are taken from and files judged on.

    Args:
        pixels: as the model takes them [N, 3, S, S]; a memory map will do.
        targets: as ``Manifest.targets`` gives them [N, C].
        labeled: images [N] that have a label.
    """

    pixels: NDArray[np.float32]
    targets: NDArray[np.floating]
    labeled: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert len(self.pixels) == len(self.targets) == len(self.labeled)


class Judge:
    """Compares files with the fp32 file they were made from.

    Args:
        source: the fp32 file.
        images: two or more.
        config: the gate.
    """

    def __init__(self, source: Path, images: CalibrationImages, config: Int8Config) -> None:
        count = len(images.pixels)
        assert count >= 2, "images are needed for the quantizer and for judging"
        order = np.random.default_rng(0).permutation(count)
        cut = min(config.images, count // 2)
        # No image does both: ranges fit the images they were taken from.
        self.for_ranges = order[:cut]
        self.for_judging = np.sort(order[cut:])
        self.pixels = images.pixels
        self.logits = run_one_by_one(open_session(source), images.pixels)
        self.rule = read_contract(metadata_of(onnx.load(source)), source).rule
        self._images = images
        self._source = source
        self._config = config

    def measure(self, path: Path, candidate: Candidate) -> Row | FailedRow:
        """Measure a candidate's file; times only where it is close enough to fp32."""
        logits = run_one_by_one(open_session(path), self.pixels)
        if not np.isfinite(logits).all():
            return FailedRow(**asdict(candidate), why_not="some logits are not finite")
        # Judged with its own temperature, as it will be shipped.
        temperature = self._temperature(logits)
        ours = logits[self.for_judging] / np.float32(temperature)
        divergence = Divergence.of(ours, self.logits[self.for_judging], self.rule)
        row = Row(
            **asdict(candidate),
            **asdict(divergence),
            **asdict(self._quality(ours)),
            temperature=temperature,
            bytes=path.stat().st_size,
        )
        if row.flips > self._config.max_flip_rate * row.n:
            allowed = f"max_flip_rate {self._config.max_flip_rate:g}"
            far = f"{row.flips} of {row.n} images change their {self.rule.answer}, more than {allowed}"
            return replace(row, why_not=far)
        # Both in one race: times of another minute cannot be compared.
        fp32_ms, ms = race([one_inference(file, self.pixels[:1]) for file in (self._source, path)])
        slow = f"{ms:.2f} ms an image against {fp32_ms:.2f} ms in fp32: not fast enough"
        fast = ms * self._config.min_speedup < fp32_ms
        return replace(row, fp32_ms=fp32_ms, ms=ms, why_not=None if fast else slow)

    def fp32(self) -> Fp32Row:
        """The fp32 file on the judged images."""
        return Fp32Row(**asdict(self._quality(self.logits[self.for_judging])), bytes=self._source.stat().st_size)

    def _temperature(self, logits: NDArray[np.float32]) -> float:
        """One over all labeled images, as that of fp32 was fitted; 1 where there are none, or none fits best."""
        labeled = self._images.labeled
        if not labeled.any():
            return 1.0
        fitted = fit_temperature(logits[labeled], self._images.targets[labeled], self.rule)
        return 1.0 if fitted is None else fitted

    def _quality(self, judged: NDArray[np.float32]) -> Quality:
        """Quality of logits [n, C] on the judged images."""
        labeled = self._images.labeled[self.for_judging]
        if not labeled.any():
            return Quality(labeled=0, accuracy=None, nll=None)
        logits = judged[labeled]
        targets = self._images.targets[self.for_judging][labeled]
        decided = self.rule.decide(self.rule.probabilities(logits))
        return Quality(
            labeled=len(logits),
            accuracy=float(self.rule.same(decided, self.rule.decide(targets)).mean()),
            nll=self.rule.cross_entropy(logits, targets),
        )
