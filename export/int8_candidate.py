"""One way to make an INT8 file."""

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
    """Type of activations: ``QUInt8`` or ``QInt8``, or ``float32`` where only weights are quantised."""
    excluded: tuple[str, ...] = ()
    """Nodes left in fp32."""

    def to_json(self) -> dict[str, Json]:
        """The settings by name."""
        return {**asdict(self), "excluded": list(self.excluded)}
