"""One script for each claim in docs/benchmarks.md; the last line each prints is one JSON object."""

import run  # noqa: F401 - before ONNX Runtime, which reads a switch there when it is imported
