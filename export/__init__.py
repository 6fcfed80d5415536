"""Stage 3: ONNX files, the release folders, and the runtime that reads them."""

import os

# ONNX Runtime reads it when it is imported, by whichever module comes first: a run tells its makers nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
