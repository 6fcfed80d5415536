"""One way to make an INT8 file."""

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from run.files import Json


@dataclass(frozen=True)
class Candidate:
    """The settings of one file."""

    method: str
    """``MinMax``, ``Entropy`` or ``Percentile`` for static ranges; ``dynamic``; ``weight-only``."""
    per_channel: bool
    """One scale for each output channel of a weight, not one for all."""
    activation: str
    """Type of activations: ``QUInt8`` or ``QInt8``, or ``float32`` where only weights are quantized."""
    excluded: tuple[str, ...] = ()
    """Nodes left in fp32."""

    def to_json(self) -> dict[str, Json]:
        """The settings by name."""
        return {**asdict(self), "excluded": list(self.excluded)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what ONNX Runtime's quantizers print and log, which says nothing that a user could act on."""
    root, handler, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)  # without one, importing the weight-only quantizer turns on the log of every library
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)
