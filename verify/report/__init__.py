"""The report: one page without any other file, and the pictures of it that cards show."""

import atexit
import os
import shutil
import tempfile

if "MPLCONFIGDIR" not in os.environ:
    # Before Matplotlib is imported: it would keep a list of fonts in the user's own folders.
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="pocketeva-fonts-")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
