"""Config section of the export."""

from dataclasses import dataclass, field
from typing import Literal

from export.int8.config import Int8Config
from run.config import checking

FormatName = Literal["openvino", "executorch", "coreml"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Making and checking ONNX files."""

    opset: int = 18
    """ONNX operator set, 18 to 20; 18 runs in most places."""
    parity: float = 1e-4
    """Largest difference allowed between a probability from PyTorch and from the exported file; a logit may differ by
    ten times as much of the logits' spread."""
    fp16: bool = True
    """Write an fp16 copy too: half the bytes, for runtimes that compute in fp16."""
    int8: Int8Config = Int8Config()
    """The search for an INT8 copy."""
    formats: list[FormatName] = field(default_factory=list)
    """Files for other runtimes: ``openvino``, ``executorch``, ``coreml``. Each needs the extra of its name."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("opset", lambda: 18 <= self.opset <= 20, "18, 19 or 20")
            require("parity", lambda: 0 < self.parity < 1, "between 0 and 1")
            require("formats", lambda: len(set(self.formats)) == len(self.formats), "free of repeated names")
