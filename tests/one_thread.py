"""ONNX Runtime with one thread in each session that asks for no number.

Processes that share the cores wait for each other's threads, which spin: the same inferences took twice the CPU time.
"""

from typing import Any

import run  # noqa: F401  # before ONNX Runtime, which reads its switches when it is imported

# isort: split
import onnxruntime as ort

_open = ort.InferenceSession.__init__


def _open_with_one(self: Any, source: Any, sess_options: Any = None, *arguments: Any, **options: Any) -> None:
    sess_options = sess_options or ort.SessionOptions()
    sess_options.intra_op_num_threads = sess_options.intra_op_num_threads or 1
    _open(self, source, sess_options, *arguments, **options)


ort.InferenceSession.__init__ = _open_with_one
