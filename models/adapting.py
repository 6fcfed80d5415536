"""Ways to train a model in part: adapters beside its linear layers (LoRA), or its last blocks."""

import copy
import logging
from collections.abc import Iterator
from typing import Any

from torch import nn

from models.building import run_on_shapes
from models.classifier import Classifier

LISTS = nn.Sequential | nn.ModuleList
STAGES = ("blocks", "stages", "layers")
"""Names that timm gives to the list of a model's blocks, or of its stages."""
SEPARATE = "qkv_bias_separate"
"""Timm's flag of EVA, BEiT and Swin V2: off, the attention takes a layer's weight and leaves the layer out."""

Adapted = Any
"""``peft.LoraModel``: a model with adapters."""


def add_adapters(classifier: Classifier, rank: int, alpha: float) -> Adapted:
    """Put an adapter beside each of ``linear_layers``; these and the head alone require gradients then.

    W x becomes W x + alpha / rank · B A x, with A [rank, in] random and B [out, rank] zero (Hu et al. 2021, arXiv
    2106.09685), so nothing changes at first. Gives the classifier's model, changed in place, as ``merge`` takes it.
    """
    # peft imports torchao, of which torch says here, twice, what will change in a release to come.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    from peft import LoraConfig, LoraModel  # takes seconds, which only this needs

    names = linear_layers(classifier.model, classifier.spec.size)
    adapted = LoraModel(classifier.model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=names), "default")
    for head in classifier.heads:
        head.requires_grad_(True)
    return adapted


def merge(adapted: Adapted) -> nn.Module:
    """Add the adapters to the weights that they stand beside, in place; gives the plain model."""
    plain: nn.Module = adapted.merge_and_unload()
    return plain


def merged_copy(adapted: Adapted) -> nn.Module:
    """``merge`` of a copy: training goes on with the adapters."""
    return merge(copy.deepcopy(adapted))


def linear_layers(model: nn.Module, size: int) -> list[str]:
    """Names of the linear layers that an image of ``size`` pixels goes through, but the head's: of attention and MLPs.

    The model's attention is told to run these layers, instead of taking their weights.
    """
    for module in model.modules():
        if hasattr(module, SEPARATE):
            setattr(module, SEPARATE, True)
    names = {module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    called: set[str] = set()
    hooks = [module.register_forward_pre_hook(lambda module, _: called.add(names[module])) for module in names]
    try:
        run_on_shapes(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    found: Any = model.get_classifier()  # type: ignore[operator]
    heads = {inner for part in (found if isinstance(found, tuple) else [found]) for inner in part.modules()}
    return sorted(called - {names[head] for head in heads if head in names})


def train_last_blocks(model: nn.Module, count: int) -> None:
    """Let the last ``count`` of ``blocks_of`` and what follows them require gradients, and nothing else."""
    first = next(blocks_of(model)[-count].parameters())
    reached = False
    # In the order in which timm makes layers, which is that in which images go through.
    for weight in model.parameters():
        reached = reached or weight is first
        weight.requires_grad_(reached)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a timm model, in order; where it has stages, those of all stages."""
    lists = [found for name in STAGES if isinstance(found := getattr(model, name, None), LISTS)]
    return list(_flat(lists[0])) if lists else []


def _flat(stages: Any) -> Iterator[nn.Module]:
    for stage in stages:
        inner = stage if isinstance(stage, LISTS) else getattr(stage, "blocks", None)
        if isinstance(inner, LISTS):
            yield from _flat(inner)
        else:
            yield stage
