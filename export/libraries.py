"""Converters and quantizers: what they print is kept back, what they raise is known."""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator

from export.session import ort_errors


def library_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Errors of a converter, a quantizer or ONNX Runtime about a model that it cannot express, make or run."""
    import onnx  # what runs a release does without it

    ours = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    of_onnx = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    return (*more, *ours, *of_onnx, *ort_errors())


def first_line(error: BaseException) -> str:
    """The first line of an error, without the folders of this machine."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", lines[0])


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep back what Python code of libraries prints, logs and warns of: dozens of lines that help no one."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    disabled = logging.root.manager.disable
    # Without a handler, importing the weight-only quantizer turns on the log of every library.
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """As ``quietly``, and keep back what compiled code prints too; no progress bar can be drawn meanwhile."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Streams were flushed, or what was printed before would vanish too.
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as silent, quietly():
        try:
            for number in (1, 2):
                os.dup2(silent.fileno(), number)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
