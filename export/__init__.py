"""Stage 3: ONNX files, the release folders, and the runtime that reads them.

``export`` writes a model's folder; ``release`` is the layout, ``runtime`` opens a file, ``session`` opens ONNX Runtime.
``int8`` and ``formats`` make smaller files and those for other runtimes, ``golden`` finds the step of an app that
differs. Left out on purpose: nothing is judged on the test split here, and what cannot be checked is not shipped.
"""

import run  # noqa: F401 - before ONNX Runtime, which reads a switch there when it is imported
