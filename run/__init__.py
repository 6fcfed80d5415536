"""The ground that stages share: config files, the run directory with its lock and stamps, ranks, errors, console.

It imports no other room, so the root config, which has a section of each, is in ``verbs``. Training is not here:
``fitting`` has it.
"""

import atexit
import os
import secrets
import shutil
import sys
import tempfile

# Before any library is imported: every room imports this one first. A run tells the makers of what it uses nothing.
for switch, quiet in (
    ("ORT_DISABLE_TELEMETRY", "1"),  # ONNX Runtime reads it when it is imported
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("WANDB_ERROR_REPORTING", "false"),
):
    os.environ.setdefault(switch, quiet)
# OpenVINO has no such switch, and takes a module that cannot be imported for one that was never installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if "MPLCONFIGDIR" not in os.environ:
    # Matplotlib, which torchmetrics imports too, would keep a list of fonts in folders of the user.
    os.environ["MPLCONFIGDIR"] = os.path.join(tempfile.gettempdir(), f"pocketeva-fonts-{secrets.token_hex(8)}")  # noqa: PTH118
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
