"""Checkpoint folders that others wrote: their weights and facts, and what is wrong with them, in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from run.errors import UserError, plural, quoted

_PREFIXES = ("timm_model.", "module.", "_orig_mod.")
"""Before every weight of what transformers, DistributedDataParallel and ``torch.compile`` save of a timm model."""


def read_weights(folder: Path, key: str) -> dict[str, Tensor]:
    """The weights in ``model.safetensors``, by timm's names.

    Raises:
        UserError: they are not there, damaged, or not all numbers.
    """
    path = require_weights(folder, key)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{key}.model: {quoted(path)} cannot be read: {error}") from error
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    # As float32: of numbers of 8 bits, PyTorch cannot tell.
    floats = ((name, tensor.float()) for name, tensor in weights.items() if tensor.is_floating_point())
    broken = [name for name, tensor in floats if not tensor.isfinite().all()]
    if broken:
        raise UserError(f"{key}.model: {quoted(path)} holds values that are no numbers, the first in {broken[0]}")
    return weights


def require_weights(folder: Path, key: str) -> Path:
    """The file with a checkpoint's weights."""
    path = folder / "model.safetensors"
    if not path.is_file():
        shards = sorted(folder.glob("model-*-of-*.safetensors"))
        why = f"the weights are in {len(shards)} files: save them as one" if shards else "never pickles"
        raise UserError(f"{key}.model: {quoted(path)} does not exist; only safetensors are loaded, {why}")
    return path


def require_rgb(name: str, key: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint for images of one channel, or of any number but three.

    Raises:
        UserError: its config or its first layer says so.
    """
    cfg = config["pretrained_cfg"]
    first = weights.get(f"{cfg.get('first_conv')}.weight")
    said = (config.get("model_args") or {}).get("in_chans", (cfg.get("input_size") or [3])[0])
    channels = first.shape[1] if first is not None and first.ndim == 4 else said
    if channels != 3:
        raise UserError(
            f"{key}.model: {name} takes images of {plural(channels, 'channel')}, and images here have 3: choose a "
            "checkpoint with in_chans 3"
        )


def label_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The label names in a checkpoint's config, in the order of its outputs; null where none can be read."""
    names = config.get("label_names")
    if isinstance(names, list):
        return tuple(map(str, names))
    by_id = config.get("id2label")
    if not isinstance(by_id, Mapping) or not all(str(number).isdecimal() for number in by_id):
        return None
    return tuple(str(by_id[number]) for number in sorted(by_id, key=int))


def trained_size(config: Mapping[str, Any], name: str, key: str) -> int:
    """The image size in pixels that a checkpoint was trained at, which may not be its architecture's own.

    Raises:
        UserError: the config does not say.
    """
    size = (config.get("model_args") or {}).get("img_size", config["pretrained_cfg"].get("input_size"))
    side = size[-1] if isinstance(size, list) and size else size
    if not isinstance(side, int):
        raise UserError(
            f"{key}.model: config.json of {name} does not say the size of its images (pretrained_cfg.input_size)"
        )
    return side
