"""INT8 files that are measured: every setting is tried, and the best is shipped only if it passes a gate."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from onnxruntime.quantization import quant_pre_process

from export.int8 import matmul, static
from export.int8.candidate import Candidate
from export.int8.config import Int8Config
from export.int8.judge import Fit, Judge
from export.onnx_graph import seal
from export.runtime import processor
from export.session import open_session, run_one_by_one
from run.console import progress
from run.files import Json, atomic_path, file_digest

QUANTISER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime's quantizer, and its loader of what the quantizer made, are known to raise."""

SLOWER = 1.25
"""A candidate that takes this much longer than the fastest that passes is not taken, however close to fp32."""

Row = dict[str, Json]
"""One candidate: its settings, what was measured, and ``why_not``, null where it passes the gate."""


@dataclasses.dataclass(frozen=True)
class Int8Result:
    """What was tried and what came of it.

    ``winner`` is the row of the file that was written, with its ``sha256`` and final ``bytes``; null where none was.
    """

    config: Int8Config
    rows: list[Row]
    winner: Row | None
    fp32: Row
    num_ranges: int
    num_judged: int
    layer_costs: list[Row]

    @property
    def reason(self) -> str:
        """One sentence: what is shipped, and why."""
        gate = f"at most {self.config.max_flip_rate:.2%} of decisions changed and faster than fp32 on this CPU"
        if self.winner is None:
            return f"no INT8 file: none of {len(self.rows)} candidates passed the gate ({gate})"
        passed = sum(row["why_not"] is None for row in self.rows)
        return f"{passed} of {len(self.rows)} candidates passed the gate ({gate}): the closest to fp32 of the fast ones"

    def to_json(self) -> dict[str, Json]:
        """For ``int8.json``. All of it but the times is the same each time on the same machine."""
        return {
            "shipped": self.winner is not None,
            "reason": self.reason,
            "processor": processor(),
            "gate": {"max_flip_rate": self.config.max_flip_rate, "min_speedup": self.config.min_speedup},
            "images": {"ranges": self.num_ranges, "judged": self.num_judged},
            "fp32": self.fp32,
            "winner": self.winner,
            "candidates": self.rows,
            "layer_costs": self.layer_costs,
        }


def quantize(
    source: Path,
    path: Path,
    pixels: NDArray[np.float32],
    targets: NDArray[np.floating],
    labeled: NDArray[np.bool_],
    config: Int8Config,
    fit: Fit,
) -> Int8Result:
    """Write the best INT8 file of a model, or nothing if none passes the gate.

    Convolutional networks are tried with static ranges, transformers with quantized matrix products only, and what is
    both with either. Ranges are taken from one part of the images and candidates judged on the other. Of those that
    pass and take at most ``SLOWER`` times as long as the fastest, the one with the least mean divergence from fp32 is
    taken, which depends less on luck than its count of flips. Where none passes, the closest static setting is tried
    again with the layers left in fp32 that cost most, one more each time.

    Args:
        source: the fp32 ``model.onnx``.
        path: the INT8 file; logits are divided by a temperature of its own inside.
        pixels: calibration images as the model takes them [N, 3, S, S], at least two; a memory map will do.
        targets: as ``Manifest.targets`` gives them [N, C].
        labeled: which of the images [N] have a label.
        config: what to try and the gate.
        fit: logits [N, C], targets [N, C] and the decision rule to a temperature.
    """
    assert config.mode != "none"
    judge = Judge(source, pixels, targets, labeled, config, fit)
    with tempfile.TemporaryDirectory() as folder:
        quantizer = _Quantizer(_prepare(source, Path(folder)), judge)
        sweep = _Sweep(judge, quantizer, Path(folder))
        sweep.try_all(quantizer.candidates(config.mode))
        if config.mode == "full" and sweep.best() is None:
            sweep.leave_out_layers(config.exclude_layers)
        return sweep.finish(source, path, config)


class _Quantizer:
    """Both ways of making INT8 files of one prepared model."""

    def __init__(self, prepared: Path, judge: Judge) -> None:
        self.static = static.StaticQuantizer(prepared, judge.pixels[judge.for_ranges])
        self._matmul = matmul.MatMulQuantizer(prepared)

    def candidates(self, mode: Literal["quick", "full"]) -> list[Candidate]:
        """Settings to try; the one convolution of a transformer, which cuts the image into patches, is not counted."""
        ranged = static.candidates(mode) if self.static.convolutions() > 1 else []
        return ranged + (matmul.candidates(mode) if self._matmul.products() else [])

    def write(self, path: Path, candidate: Candidate) -> None:
        writer = self._matmul if candidate.method in matmul.METHODS else self.static
        writer.write(path, candidate)


class _Sweep:
    """Candidates that were tried, and what was measured of each."""

    def __init__(self, judge: Judge, quantizer: _Quantizer, folder: Path) -> None:
        self._judge, self._quantizer = judge, quantizer
        self._file = folder / "candidate.onnx"
        self._tried: list[tuple[Candidate, Row]] = []
        self._layer_costs: list[Row] = []

    def try_all(self, candidates: Sequence[Candidate], enough: Callable[[], bool] = lambda: False) -> None:
        """Make and measure each, until there is enough."""
        with progress("INT8 candidates", len(candidates)) as advance:
            for candidate in candidates:
                if enough():
                    break
                self._tried.append((candidate, candidate.to_json() | self._measure(candidate)))
                advance(1)

    def leave_out_layers(self, most: int) -> None:
        """Try the closest static setting again without its costliest layer, its two costliest, … until one passes."""
        candidate = self._closest_static()
        if candidate is None:
            return
        quantizer = self._quantizer.static
        layers = quantizer.layers()
        with progress("cost of each layer", len(layers)) as advance:
            costs: dict[tuple[str, ...], float] = {}
            for layer in layers:
                costs[layer] = quantizer.cost(layer, candidate, self._judge)
                advance(1)
        costliest = sorted(layers, key=lambda layer: -costs[layer])
        self._layer_costs = [{"nodes": list(layer), "kl": costs[layer]} for layer in costliest]
        without = [sum(costliest[:count], ()) for count in range(1, min(most, len(layers) - 1) + 1)]
        excluding = [dataclasses.replace(candidate, excluded=nodes) for nodes in without]
        self.try_all(excluding, enough=lambda: self.best() is not None)

    def best(self) -> Candidate | None:
        """Of the candidates that pass the gate and are about as fast as the fastest of them, the closest to fp32."""
        passed = [pair for pair in self._tried if pair[1]["why_not"] is None]
        slowest = SLOWER * min((_number(row["ms"]) for _, row in passed), default=0.0)
        return _closest([pair for pair in passed if _number(pair[1]["ms"]) <= slowest])

    def finish(self, source: Path, path: Path, config: Int8Config) -> Int8Result:
        """Write the winner, if there is one."""
        best = self.best()
        winner: Row | None = None
        if best is not None:
            row = dict(self._tried)[best]
            winner = {**row, **self._write(source, path, best, row)}
        return Int8Result(
            config=config,
            rows=[row for _, row in self._tried],
            winner=winner,
            fp32=self._judge.fp32(),
            num_ranges=len(self._judge.for_ranges),
            num_judged=len(self._judge.for_judging),
            layer_costs=self._layer_costs,
        )

    def _closest_static(self) -> Candidate | None:
        """Of the static settings that could be run, the closest to fp32 of those not known to be too slow."""
        ran = [pair for pair in self._tried if "kl" in pair[1] and pair[0].method not in matmul.METHODS]
        return _closest([pair for pair in ran if pair[1]["ms"] is None] or ran)

    def _measure(self, candidate: Candidate) -> Row:
        try:
            self._quantizer.write(self._file, candidate)
            return self._judge.measure(self._file)
        except QUANTISER_ERRORS as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return {"why_not": f"ONNX Runtime cannot make or run it: {lines[0]}"}

    def _write(self, source: Path, path: Path, candidate: Candidate, row: Row) -> Row:
        self._quantizer.write(self._file, candidate)
        temperature = _number(row["temperature"])
        model = onnx.load(self._file)
        divide_logits(model, temperature)
        facts: dict[str, Json] = {"quantization": {**candidate.to_json(), "temperature": temperature}}
        with atomic_path(path) as partial:
            partial.write_bytes(seal(model, onnx.load(source), facts))
            expected = run_one_by_one(open_session(self._file), self._judge.pixels[:1]) / np.float32(temperature)
            assert np.allclose(
                run_one_by_one(open_session(partial), self._judge.pixels[:1]), expected, rtol=1e-4, atol=1e-4
            )
        return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _closest(tried: Sequence[tuple[Candidate, Row]]) -> Candidate | None:
    """The candidate with the least mean divergence from fp32; the first where two are equal."""
    return min(tried, key=lambda pair: _number(pair[1]["kl"]))[0] if tried else None


def _number(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _prepare(source: Path, folder: Path) -> Path:
    """Shapes inferred, constants and batch norms folded: what the quantizers need."""
    prepared = folder / "prepared.onnx"
    quant_pre_process(source, prepared)
    return prepared


def divide_logits(model: onnx.ModelProto, temperature: float) -> None:
    """Make ``logits`` what they were, divided by a temperature; in float32, in place."""
    raw, divisor = "logits_before_temperature", "temperature"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [raw if name == "logits" else name for name in names]
    scalar = onnx.numpy_helper.from_array(np.array(temperature, np.float32), divisor)
    model.graph.initializer.append(scalar)
    model.graph.node.append(onnx.helper.make_node("Div", [raw, divisor], ["logits"], name="divide_by_temperature"))
