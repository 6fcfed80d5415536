"""The weights that each mode trains, and models that it cannot train."""

from torch import nn

from models.adapting import Adapted, add_adapters, blocks_of, linear_layers, train_last_blocks
from models.classifier import Classifier
from models.room import set_checkpointing
from train.config import TeacherConfig


def choose_weights(teacher: Classifier, config: TeacherConfig) -> Adapted | None:
    """Let what the mode trains on images require gradients; gives the model with its adapters where it has any."""
    if config.mode == "lora":
        return add_adapters(teacher, config.lora.rank, config.lora.alpha)
    if config.mode == "last_blocks":
        train_last_blocks(teacher.model, config.last_blocks.blocks)
    else:
        teacher.model.requires_grad_(True)
    return None


def refusal(model: nn.Module, size: int, config: TeacherConfig) -> str:
    """Reason why a model, with or without numbers, cannot be trained as the config has it; empty where it can."""
    if config.mode == "head":
        return ""
    key = f"teacher.{config.images_key}"
    if config.on_images.grad_checkpointing is True and not set_checkpointing(model, False):
        return f"{key}.grad_checkpointing is true, and {config.model} has none; it must be auto or false"
    if config.mode == "lora" and not linear_layers(model, size):
        return f"teacher.mode is lora, and {config.model} has no linear layers before its head: take head or full"
    if config.mode == "last_blocks":
        found = len(blocks_of(model))
        if not found:
            return f"teacher.mode is last_blocks, and {config.model} has no blocks that timm names: take head or full"
        if found < config.last_blocks.blocks:
            return f"{key}.blocks is {config.last_blocks.blocks}; {config.model} has {found}"
    return ""
