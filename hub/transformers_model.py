"""A classifier that transformers wrote, and that is no timm model: run as transformers runs it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.libraries import first_line, quietly
from export.runtime import Picture
from run.errors import UserError
from verify.chunks import Function


def open_transformers(folder: Path) -> Function:
    """A function from a decoded image to logits [C], with the checkpoint's own preprocessing.

    Raises:
        UserError: transformers is not installed, or cannot load it.
    """
    if find_spec("transformers") is None:
        raise UserError(
            "the package transformers is not installed, and this is its checkpoint: pip install transformers"
        )
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    # Nothing that was downloaded is run or unpickled.
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quietly():
            processor: Any = AutoImageProcessor.from_pretrained(folder, **safe)
            model: Any = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, **safe).eval()
    except (AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{folder} cannot be loaded by transformers: {first_line(error)[:300]}") from error

    def logits(picture: Picture) -> NDArray[np.float32]:
        with torch.inference_mode():
            values = model(**processor(images=picture.image, return_tensors="pt")).logits[0]
        return np.asarray(values.float().numpy())

    return logits
