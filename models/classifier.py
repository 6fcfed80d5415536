"""A timm model with its label set and input contract: build it, split it into backbone and head, name its weights."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from data.labels import LabelSet
from models.input_check import require_size
from models.spec import InputSpec
from run.console import log
from run.errors import UserError

WRAPPER_PREFIX = "timm_model."
"""Before every weight of a checkpoint that transformers wrote for a timm model."""


@dataclass(frozen=True)
class Classifier:
    """A model, what its outputs mean and what it takes."""

    model: nn.Module
    architecture: str
    labels: LabelSet
    spec: InputSpec

    @property
    def head(self) -> nn.Linear:
        """The last layer, from features to logits, where there is but one and nothing else between."""
        head = self.model.get_classifier()  # type: ignore[operator]
        if not isinstance(head, nn.Linear):
            raise UserError(f"{self.architecture} does not end in one linear layer; choose a model that does")
        return head

    @property
    def heads(self) -> list[nn.Linear]:
        """Every layer that gives logits: RepViT, LeViT and EfficientFormer take the mean of two."""
        found = self.model.get_classifier()  # type: ignore[operator]
        modules = [inner for part in (found if isinstance(found, tuple) else [found]) for inner in part.modules()]
        last = [inner for inner in modules if isinstance(inner, nn.Linear) and inner.out_features == len(self.labels)]
        if not last:
            raise UserError(f"{self.architecture} does not end in linear layers; choose a model that does")
        return last

    @property
    def feature_width(self) -> int:
        """Length of the feature vector that the head takes."""
        return self.heads[0].in_features

    def features(self, images: Tensor) -> Tensor:
        """What the head takes [B, D], for normalized images [B, 3, S, S]."""
        model: Any = self.model
        features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
        return features

    def normalize(self, images: Tensor) -> Tensor:
        """``InputSpec.normalize`` for uint8 tensors [B, 3, S, S], on their device."""
        return normalize(images, self.spec)

    def weights_digest(self, *, backbone_only: bool = False) -> str:
        """SHA-256 over the names and bytes of all weights, or of those before the head."""
        head = {id(parameter) for parameter in self.head.parameters()} if backbone_only else set()
        named = self.model.state_dict(keep_vars=True)
        total = hashlib.sha256(self.architecture.encode())
        for name in sorted(name for name, tensor in named.items() if id(tensor) not in head):
            total.update(name.encode())
            total.update(named[name].detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()


def normalize(images: Tensor, spec: InputSpec) -> Tensor:
    """``InputSpec.normalize`` for uint8 tensors [B, 3, S, S], on their device."""
    mean = images.new_tensor(spec.mean, dtype=torch.float32).view(3, 1, 1)
    std = images.new_tensor(spec.std, dtype=torch.float32).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def build(
    name: str,
    labels: LabelSet,
    *,
    key: str,
    pretrained: bool,
    image_size: int | None = None,
    drop_path: float = 0.0,
) -> Classifier:
    """A classifier for ``labels``.

    A new head is made, unless the checkpoint was trained on the very same label names in the same order.

    Args:
        name: a timm name, a Hub id (``org/name``), or a folder that timm or transformers (``timm_wrapper``) wrote.
        labels: the run's label set.
        key: the config section, for messages.
        pretrained: load weights; without, they are random and ``name`` is a timm name.
        image_size: in pixels; null keeps the model's own.
        drop_path: rate of stochastic depth while training.

    Raises:
        UserError: no such model, its weights cannot be had, or it cannot take images of that size.
    """
    if not pretrained:
        found = _random(name, key, image_size, drop_path, len(labels))
        spec = spec_of(found).with_size(image_size)
        require_size(found, spec.size, key=key)
        return Classifier(found, architecture_of(name), labels, spec)
    folder = find_checkpoint(name, key)
    config = read_config(folder)
    names = label_names(config)
    size = image_size or trained_size(config)
    model = _from_checkpoint(folder, config, key, size, drop_path)
    if names != labels.names:
        log.print(f"{key}.model: a new head for the labels {', '.join(labels.names)}")
        model.reset_classifier(len(labels))  # type: ignore[operator]
    require_size(model, size, key=key)
    return Classifier(model, config["architecture"], labels, spec_of(model).with_size(size))


def spec_of(model: nn.Module) -> InputSpec:
    """The input contract of a timm model."""
    return InputSpec.from_pretrained_cfg(model.pretrained_cfg)  # type: ignore[arg-type]


def find_checkpoint(name: str, key: str) -> Path:
    """The folder of a checkpoint, fetched from the Hub if need be; a plain timm name stands for timm's own there.

    Raises:
        UserError: the Hub has no such repository, or cannot be reached.
    """
    local = Path(name.removeprefix("local-dir:"))
    if local.is_dir() or name.startswith("local-dir:"):
        return local
    repo = name.removeprefix("hf-hub:")
    if "/" not in repo:
        repo = _hub_id(repo, key)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    try:
        return Path(snapshot_download(repo, allow_patterns=["config.json", "model.safetensors"]))
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{key}.model: {repo} is no folder here, and its weights cannot be had from the Hub: {error}\n"
            f"Check the name and the connection (private models need `hf auth login`), or give {key}.model the path "
            f"of a downloaded folder. Random weights are never taken instead: to ask for them, set {key}.pretrained to "
            "false."
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a timm or timm_wrapper folder.

    Raises:
        UserError: it is missing, is no JSON, or is not about a timm model.
    """
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not there: a checkpoint folder has config.json and model.safetensors") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if "architecture" not in config or "pretrained_cfg" not in config:
        raise UserError(f"{path} is not about a timm model: it has no architecture and pretrained_cfg")
    return config


def label_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The label names in a checkpoint's config, in the order of its outputs; null where it has none."""
    if "label_names" in config:
        return tuple(config["label_names"])
    by_id = config.get("id2label")
    return None if by_id is None else tuple(by_id[key] for key in sorted(by_id, key=int))


def trained_size(config: Mapping[str, Any]) -> int:
    """The image size in pixels that a checkpoint was trained at, which may not be its architecture's own."""
    size = (config.get("model_args") or {}).get("img_size", config["pretrained_cfg"]["input_size"])
    return int(size if isinstance(size, int) else size[-1])


def architecture_of(name: str) -> str:
    """A timm name without its weight tag."""
    return name.split("/")[-1].split(".")[0]


def size_args(architecture: str, size: int) -> dict[str, int]:
    """What ``timm.create_model`` needs to be told of the image size: only models that are built for one size are."""
    cfg = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    return {"img_size": size} if cfg is not None and cfg.fixed_input_size else {}


def _require_architecture(name: str, key: str) -> str:
    architecture = architecture_of(name)
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise UserError(f"{key}.model: timm has no {architecture!r}" + (f"; near: {', '.join(near)}" if near else ""))
    return architecture


def _hub_id(name: str, key: str) -> str:
    """Where timm keeps the weights of a plain name; timm's own loader would fall back to pickles."""
    _require_architecture(name, key)
    cfg = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if cfg is None or not cfg.hf_hub_id:
        raise UserError(f"{key}.model: timm has no weights on the Hub for {name}; set {key}.pretrained to false")
    return str(cfg.hf_hub_id)


def _random(name: str, key: str, image_size: int | None, drop_path: float, num_classes: int) -> nn.Module:
    architecture = _require_architecture(name, key)
    sized = size_args(architecture, image_size) if image_size else {}
    args: dict[str, Any] = {"num_classes": num_classes, **_drop_path(drop_path), **sized}
    try:
        model: nn.Module = timm.create_model(name.split("/")[-1], pretrained=False, **args)
        return model
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}.model: {name} cannot be built with {args}: {error}") from error


def _from_checkpoint(folder: Path, config: Mapping[str, Any], key: str, size: int, drop_path: float) -> nn.Module:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{key}.model: {weights} is not there; only safetensors are loaded, never pickles")
    try:
        state = {name.removeprefix(WRAPPER_PREFIX): tensor for name, tensor in load_file(weights).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{key}.model: {weights} cannot be read: {error}") from error
    architecture = config["architecture"]
    cfg = dict(config["pretrained_cfg"])
    args = {**(config.get("model_args") or {}), **size_args(architecture, size)}
    for name in ("num_classes", "drop_path_rate"):  # timm writes what a model was made with; these are set here
        args.pop(name, None)
    names = label_names(config)
    count = len(names) if names else config.get("num_classes", cfg.get("num_classes"))
    try:
        model: nn.Module = timm.create_model(
            architecture,
            pretrained=True,
            pretrained_cfg={**cfg, "num_classes": count, "custom_load": False, "state_dict": state},
            num_classes=count,
            **_drop_path(drop_path),
            **args,
        )
        return model
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{key}.model: {folder} does not hold the weights of {architecture}: {error}") from error


def _drop_path(rate: float) -> dict[str, float]:
    """The argument, where it says something: not every architecture takes it."""
    return {"drop_path_rate": rate} if rate else {}
