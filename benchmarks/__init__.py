"""One script for each claim in docs/benchmarks.md; the last line each prints is one JSON object."""
