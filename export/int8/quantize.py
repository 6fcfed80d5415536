"""The search for an INT8 file: settings are tried and measured, and the best is shipped only if it passes a gate."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import quant_pre_process

from export.images import Pixels, logits_of
from export.int8 import matmul, static
from export.int8.config import Int8Config
from export.int8.judge import Judge, SweepImages
from export.int8.result import Candidate, FailedRow, Gate, ImageCounts, Int8Result, LayerCost, Row, Winner
from export.libraries import first_line, library_errors
from export.onnx_graph import seal
from export.points.fitter import RuleFitter, set_rule
from export.runtime import processor
from run.console import progress
from run.disk import as_disk_full
from run.errors import UserError
from run.files import Json, atomic_path, file_digest

SLOWER = 1.25
"""A candidate that takes this much longer than the fastest that passes is not taken, however close to fp32."""


def quantize(
    source: Path, path: Path, images: SweepImages, config: Int8Config, fitter: RuleFitter | None = None
) -> Int8Result:
    """Write the best INT8 file of a model, or nothing if none passes the gate.

    Convolutional networks are tried with static ranges, transformers with quantized matrix products only, and what is
    both with either. Ranges are taken from other images than those that candidates are judged on. Of those that
    pass and take at most ``SLOWER`` times as long as the fastest, the one with the least mean divergence from fp32 is
    taken, which depends less on luck than its count of flips. Where none passes, the closest static setting is tried
    again with the layers left in fp32 that cost most, one more each time.

    Args:
        source: the fp32 ``model.onnx``.
        path: the INT8 file; logits are divided by a temperature of its own inside.
        fitter: fits each candidate's own decision rule; null takes that of the fp32 file.
    """
    counts = ImageCounts(len(images.ranges), len(images.judged))
    # Before the model is prepared: on so few images not even a single candidate could pass.
    gate = Gate.of(config, tries=1)
    if config.mode == "none" or not counts.ranges or counts.judged < gate.images_needed:
        return _not_tried(config, gate, counts)
    with tempfile.TemporaryDirectory() as folder:
        quantizer = _Quantizer(_prepare(source, Path(folder)), images.ranges)
        candidates = quantizer.candidates(config.mode)
        may_leave_out = config.mode == "full" and quantizer.is_convolutional
        tries = len(candidates) + (config.exclude_layers if may_leave_out else 0)
        gate = Gate.of(config, tries)
        if counts.judged < gate.images_needed:
            return _not_tried(config, gate, counts)
        judge = Judge(source, images, config, tries, fitter)
        sweep = _Sweep(judge, quantizer, Path(folder))
        sweep.try_all(candidates)
        if may_leave_out and sweep.best() is None:
            sweep.leave_out_layers(config.exclude_layers)
        return sweep.finish(source, path, counts)


def _not_tried(config: Int8Config, gate: Gate, counts: ImageCounts) -> Int8Result:
    """The record of a sweep that did not begin."""
    if config.mode == "none":
        why = "export.int8.mode is none"
    elif not counts.ranges:
        why = "there are no training images to take ranges from"
    else:
        tried = f"{gate.tries} candidates" if gate.tries > 1 else "a single candidate"
        why = (
            f"to show for {tried}, with {gate.overall:.0%} confidence, that at most {gate.max_flip_rate:.2%} of "
            f"decisions change takes {gate.images_needed:,} images without a change, and there {_are(counts.judged)}: "
            "raise data.splits.val, or export.int8.max_flip_rate"
        )
    return Int8Result(processor=processor(), gate=gate, images=counts, not_tried=why)


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count:,}"


class _Quantizer:
    """Both ways of making INT8 files of one prepared model."""

    def __init__(self, prepared: Path, ranges: Pixels) -> None:
        self.static = static.StaticQuantizer(prepared, ranges)
        self._matmul = matmul.MatMulQuantizer(prepared)

    def candidates(self, mode: Literal["quick", "full"]) -> list[Candidate]:
        ranged = static.candidates(mode) if self.is_convolutional else []
        return ranged + (matmul.candidates(mode) if self._matmul.products() else [])

    @cached_property
    def is_convolutional(self) -> bool:
        """True where there are convolutions besides the one of a transformer, which cuts the image into patches."""
        return self.static.convolutions() > 1

    def write(self, path: Path, candidate: Candidate) -> None:
        writer = self._matmul if candidate.method in matmul.METHODS else self.static
        writer.write(path, candidate)


class _Sweep:
    """Candidates that were tried, with what was measured of each."""

    def __init__(self, judge: Judge, quantizer: _Quantizer, folder: Path) -> None:
        self._judge = judge
        self._quantizer = quantizer
        self._folder = folder
        self._rows: list[Row | FailedRow] = []
        self._layer_costs: list[LayerCost] = []

    def try_all(self, candidates: Sequence[Candidate], enough: Callable[[], bool] = lambda: False) -> None:
        """Make and measure each, until there is enough."""
        with progress("INT8 candidates", len(candidates)) as advance:
            for candidate in candidates:
                if enough():
                    break
                self._rows.append(self._measure(candidate))
                advance(1)

    def leave_out_layers(self, most: int) -> None:
        """Try the closest static setting again without its costliest layer, its two costliest, … until one passes."""
        closest = self._closest_static()
        if closest is None:
            return
        candidate = closest.candidate
        quantizer = self._quantizer.static
        layers = quantizer.layers()
        alone = self._folder / "one-layer.onnx"
        with progress("cost of each layer", len(layers)) as advance:
            costs: dict[tuple[str, ...], float] = {}
            for layer in layers:
                quantizer.write(alone, candidate, only=layer)
                costs[layer] = self._judge.cost(alone)
                advance(1)
        costliest = sorted(layers, key=lambda layer: -costs[layer])
        self._layer_costs = [LayerCost(layer, costs[layer]) for layer in costliest]
        without = [sum(costliest[:count], ()) for count in range(1, min(most, len(layers) - 1) + 1)]
        excluding = [replace(candidate, excluded=nodes) for nodes in without]
        self.try_all(excluding, enough=lambda: self.best() is not None)

    def best(self) -> Row | None:
        """Of the candidates that pass the gate and are about as fast as the fastest of them, the closest to fp32."""
        passed = [row for row in self._measured() if row.why_not is None]
        # Closeness decides among the fast ones only: INT8 that is hardly faster than fp32 is of no use.
        slowest = SLOWER * min(map(_ms, passed), default=0.0)
        return _closest([row for row in passed if _ms(row) <= slowest])

    def finish(self, source: Path, path: Path, counts: ImageCounts) -> Int8Result:
        """Write the winner, if there is one."""
        best = self.best()
        return Int8Result(
            processor=processor(),
            gate=self._judge.gate,
            images=counts,
            fp32=self._judge.fp32(),
            winner=None if best is None else self._write(source, path, best),
            candidates=tuple(self._rows),
            layer_costs=tuple(self._layer_costs),
        )

    def _measured(self) -> list[Row]:
        return [row for row in self._rows if isinstance(row, Row)]

    def _closest_static(self) -> Row | None:
        """Of the static settings that could be run, the closest to fp32 of those not known to be too slow."""
        ran = [row for row in self._measured() if row.method not in matmul.METHODS]
        return _closest([row for row in ran if row.ms is None] or ran)

    def _measure(self, candidate: Candidate) -> Row | FailedRow:
        file = self._file(len(self._rows))
        try:
            self._quantizer.write(file, candidate)
            row: Row | FailedRow = self._judge.measure(file, candidate)
        except library_errors() as error:
            if as_disk_full(error):
                raise
            reason = f"ONNX Runtime cannot make or run it: {first_line(error)}"
            row = FailedRow(**asdict(candidate), why_not=reason)
        if row.why_not is not None:
            file.unlink(missing_ok=True)
        return row

    def _file(self, number: int) -> Path:
        """The file of a row's candidate, as long as it may win."""
        return self._folder / f"candidate-{number}.onnx"

    def _write(self, source: Path, path: Path, row: Row) -> Winner:
        file = self._file(self._rows.index(row))
        model = onnx.load(file)
        divide_logits(model, row.temperature)
        facts: dict[str, Json] = {"quantization": {**asdict(row.candidate), "temperature": row.temperature}}
        with atomic_path(path) as partial:
            partial.write_bytes(seal(model, onnx.load(source), facts))
            expected = self._first_logits(file) / np.float32(row.temperature)
            set_rule(partial, self._judge.own_rule(partial))
            if not np.allclose(self._first_logits(partial), expected, rtol=1e-4, atol=1e-4):
                raise UserError(
                    "the INT8 file gives other logits with its temperature inside than before, divided by it: ONNX "
                    "Runtime optimizes the two otherwise here. Set export.int8.mode to none, or take another version"
                )
        return Winner(**{**asdict(row), "bytes": path.stat().st_size}, sha256=file_digest(path))

    def _first_logits(self, path: Path) -> NDArray[np.float32]:
        """Logits [1, C] of the first image."""
        return logits_of(path, self._judge.images.judged[:1])


def _closest(rows: Sequence[Row]) -> Row | None:
    """The row with the least mean divergence from fp32; the first where two are equal."""
    return min(rows, key=lambda row: row.kl, default=None)


def _ms(row: Row) -> float:
    assert row.ms is not None, "whatever passes was timed"
    return row.ms


def _prepare(source: Path, folder: Path) -> Path:
    """Shapes inferred, constants and batch norms folded, every node named: what the quantizers need."""
    prepared = folder / "prepared.onnx"
    quant_pre_process(source, prepared)
    model = onnx.load(prepared)
    for place, node in enumerate(model.graph.node):
        # The optimizer leaves new nodes without names, and the quantizers choose nodes by name.
        node.name = node.name or f"unnamed_{place}"
    onnx.save(model, prepared)
    return prepared


def divide_logits(model: onnx.ModelProto, temperature: float) -> None:
    """Divide ``logits`` by a temperature inside the graph, in float32, in place."""
    raw = "logits_before_temperature"
    divisor = "temperature"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [raw if name == "logits" else name for name in names]
    scalar = onnx.numpy_helper.from_array(np.array(temperature, np.float32), divisor)
    model.graph.initializer.append(scalar)
    model.graph.node.append(onnx.helper.make_node("Div", [raw, divisor], ["logits"], name="divide_by_temperature"))
