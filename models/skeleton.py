"""A model without its numbers: what can be said of it before weights are fetched and anything is trained."""

from pathlib import Path

import timm
from torch import nn

from models.building import failure_in, on_meta, own_args, size_args, spec_of
from models.facts import read_config
from models.foreign import trained_size
from models.names import architecture_of, require_architecture


def skeleton(name: str, num_labels: int, image_size: int | None) -> nn.Module | None:
    """The model that ``models.building.build`` would make, of weights with shapes and no numbers.

    Args:
        image_size: in pixels; null keeps the model's own.

    Returns:
        Null where only the model's weights will tell what it is.
    """
    folder = Path(name.removeprefix("local-dir:"))
    if folder.is_dir():
        architecture = read_config(folder)["architecture"]
    else:
        architecture = architecture_of(name.removeprefix("hf-hub:"))
    if not timm.is_model(architecture):
        return None
    return on_meta(architecture, num_classes=num_labels, **size_args(architecture, image_size))


def skeleton_of(folder: Path, name: str, key: str) -> nn.Module | None:
    """A checkpoint's own model, its head too, whose weights have shapes alone; null where it cannot be built so.

    Raises:
        UserError: its config makes no sense.
    """
    config = read_config(folder)
    require_architecture(config["architecture"], key)
    args = own_args(config, trained_size(config, name, key))
    return on_meta(config["architecture"], pretrained_cfg=config["pretrained_cfg"], **args)


def trains_on_one_image(model: nn.Module, image_size: int | None) -> bool:
    """False where a training step on one image meets a normalization over the batch that has one value to go by."""
    failed = failure_in(model, image_size or spec_of(model).size, training=True)
    return failed is None or "more than 1 value per channel" not in str(failed)
