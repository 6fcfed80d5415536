"""The size of a model from which on it is not run unless that is asked for."""

from dataclasses import dataclass

WEIGHTS = 500_000_000
MACS = 500_000_000_000
"""EVA-02 large at 448 pixels takes 362e9, half a minute on one slow core."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what ``inspect`` may do."""

    export: bool = True
    """Try the export to ONNX."""
    huge: bool = False
    """Run models of any size."""

    def refusal(self, weights: float, macs: int | None) -> str | None:
        """The reason why a model of this size is not run; null where it is."""
        if self.huge or (weights <= WEIGHTS and (macs or 0) <= MACS):
            return None
        size = f"{weights / 1e6:,.0f} M weights" + (f" and {macs / 1e9:,.0f} G MACs" if macs else "")
        return f"not run: {size}; --huge runs it all the same"
