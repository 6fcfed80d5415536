"""Stage 3: ONNX files, the release folders, and the runtime that reads them.

``export`` writes a model's folder; ``release`` is the layout, ``runtime`` opens a file, ``session`` opens ONNX Runtime.
``int8`` and ``formats`` make smaller files and those for other runtimes, ``golden`` finds the step of an app that
differs. Left out on purpose: nothing is judged on the test split here, and what cannot be checked is not shipped.
"""

import os

# ONNX Runtime reads it when it is imported, by whichever module comes first: a run tells its makers nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
