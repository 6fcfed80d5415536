"""Building a classifier: from a timm name, the Hub, or a checkpoint folder.

Only safetensors are loaded, never pickles, and random weights are never taken unless the config asks for them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from data.labels import LabelSet
from models.classifier import Classifier
from models.facts import KEY, CheckpointFacts, read_config
from models.foreign import label_names, read_weights, require_rgb, require_weights, trained_size
from models.names import architecture_of, require_architecture
from models.spec import InputSpec
from run.console import log
from run.errors import UserError, quoted

_SPARE = 50_000_000
"""Numbers that a model may have beyond its weights' file, such as positions of a larger image: 200 MB of them. A config
of a hundred bytes must not take more memory than the weights that it comes with."""


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
        name: a timm name, a Hub id (``org/name``, pinned as ``org/name@REVISION``), or a folder that timm or
            transformers (``timm_wrapper``) wrote.
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
        require_size(found, spec.size, key=key, name=name)
        return Classifier(found, architecture_of(name), labels, spec)
    folder = find_checkpoint(name, key)
    config = read_config(folder)
    keeps_head = label_names(config) == labels.names
    size = image_size or trained_size(config, name, key)
    model = _from_checkpoint(name, folder, config, key, size, drop_path)
    if not keeps_head:
        log.print(f"{key}.model: a new head for the labels {', '.join(labels.names)}")
        model.reset_classifier(len(labels))  # type: ignore[operator]
    # Before hours of work: a size that the model cannot take would fail in the first batch.
    require_size(model, size, key=key, name=name)
    spec = spec_of(model).with_size(size)
    return Classifier(model, config["architecture"], labels, spec, commit_of(folder), keeps_head)


def require_size(model: nn.Module, size: int, *, key: str, name: str) -> None:
    """Run a model, which is left as it is, in eval mode on the shape of one image [1, 3, S, S], without any numbers.

    Raises:
        UserError: the model cannot take that size, or no image at all.
    """
    failed = failure_in(model, size)
    if failed is None:
        return
    reason = _in_short(failed)
    # The size is blamed only where the same architecture takes its own: any other cause would be hidden by that.
    own = timm.create_model(model.pretrained_cfg["architecture"], pretrained=False)  # type: ignore[index]
    if failure_in(own, own.pretrained_cfg["input_size"][-1]) is None:
        raise UserError(
            f"{key}.image_size: the model cannot take images of {size} x {size} pixels: {reason}"
        ) from failed
    raise UserError(f"{key}.model: {name} cannot be run on an image: {reason}") from failed


def failure_in(model: nn.Module, size: int, *, training: bool = False) -> Exception | None:
    """The error that one image of this size meets in a model, in eval mode or training; null where there is none."""
    try:
        run_on_shapes(model, size, training=training)
    except Exception as error:  # noqa: BLE001 - models raise whatever their parts do
        return error
    return None


def run_on_shapes(model: nn.Module, size: int, *, training: bool = False) -> None:
    """Run a model on the shape of one image, in eval mode or training; hooks of its modules are called."""
    # On the meta device a pass costs nothing and still meets every check of shapes inside the model.
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    before = model.training
    try:
        with torch.no_grad():
            torch.func.functional_call(model.train(training), shapes, torch.empty(1, 3, size, size, device="meta"))
    finally:
        model.train(before)


def _in_short(error: Exception) -> str:
    """The first lines of an error: one about weights has a line per weight."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def spec_of(model: nn.Module) -> InputSpec:
    """The input contract of a timm model.

    Raises:
        UserError: its ``pretrained_cfg`` has none that makes sense.
    """
    try:
        return InputSpec.from_pretrained_cfg(model.pretrained_cfg)  # type: ignore[arg-type]
    except UserError:
        raise
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"pretrained_cfg has no input contract that makes sense: {error}") from error


def look_up_spec(name: str, *, key: str, pretrained: bool, image_size: int | None = None) -> InputSpec:
    """The input contract of the model that ``build`` would make; the weights of timm's own are not asked for."""
    timms = "/" not in name.removeprefix("timm/") and not Path(name).is_dir()
    if pretrained and not timms:
        folder = find_checkpoint(name, key)
        config = read_config(folder)
        return InputSpec.from_pretrained_cfg(config["pretrained_cfg"]).with_size(
            image_size or trained_size(config, name, key)
        )
    require_architecture(name, key)
    cfg = timm.get_pretrained_cfg(name.split("/")[-1], allow_unregistered=True)
    assert cfg is not None, "timm has the architecture"
    return InputSpec.from_pretrained_cfg(cfg.to_dict()).with_size(image_size)


def find_checkpoint(name: str, key: str) -> Path:
    """The folder of a checkpoint, fetched from the Hub if need be; a plain timm name stands for timm's own there.

    Raises:
        UserError: the Hub has no such repository, or cannot be reached.
    """
    # Timm's own names may hold no "@", and the Hub's ids neither: what follows is a branch, a tag or a commit.
    local = Path(name.removeprefix("local-dir:"))
    if local.is_dir() or name.startswith("local-dir:"):
        return local
    repo = name.removeprefix("hf-hub:")
    repo, _, revision = repo.partition("@")
    if "/" not in repo:
        repo = _hub_id(repo, key)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    try:
        return Path(
            snapshot_download(
                repo, revision=revision or None, allow_patterns=["README.md", "config.json", "model.safetensors"]
            )
        )
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{key}.model: {repo} is no folder here, and its weights cannot be had from the Hub: {error}\n"
            f"Check the name and the connection (private models need `hf auth login`), or give {key}.model the path "
            f"of a downloaded folder. Random weights are never taken instead: to ask for them, set {key}.pretrained to "
            "false; `pocketeva init PATH --from-scratch` writes a config for that."
        ) from error


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the Hub's cache holds; null for any other folder."""
    is_commit = folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if is_commit else None


def require_checkpoint(name: str, key: str) -> None:
    """Fetch a checkpoint, and see that its config and its weights are there; only ``build`` reads the weights.

    Raises:
        UserError: they cannot be had, or the config says what cannot be taken.
    """
    folder = find_checkpoint(name, key)
    require_architecture(read_config(folder)["architecture"], key)
    require_weights(folder, key)


def size_args(architecture: str, size: int | None) -> dict[str, int]:
    """The arguments of ``timm.create_model`` for an image size: only models that are built for one size take any."""
    cfg = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    return {"img_size": size} if size and cfg is not None and cfg.fixed_input_size else {}


def _hub_id(name: str, key: str) -> str:
    """The repository with timm's weights for a plain name; timm's own loader would fall back to pickles."""
    require_architecture(name, key)
    cfg = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if cfg is None or not cfg.hf_hub_id:
        raise UserError(f"{key}.model: timm has no weights on the Hub for {name}; set {key}.pretrained to false")
    return str(cfg.hf_hub_id)


def _random(name: str, key: str, image_size: int | None, drop_path: float, num_classes: int) -> nn.Module:
    sized = size_args(require_architecture(name, key), image_size)
    args: dict[str, Any] = {"num_classes": num_classes, **_drop_path(drop_path), **sized}
    try:
        model: nn.Module = timm.create_model(name.split("/")[-1], pretrained=False, **args)
        return model
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}.model: {name} cannot be built with {args}: {error}") from error


def open_checkpoint(folder: Path, name: str, key: str) -> Classifier:
    """A checkpoint as it is, with its own head, in eval mode; labels that it does not name are numbers."""
    config = read_config(folder)
    size = trained_size(config, name, key)
    model = _from_checkpoint(name, folder, config, key, size, 0.0).eval()
    require_size(model, size, key=key, name=name)
    return Classifier(model, config["architecture"], own_labels(config, folder), spec_of(model).with_size(size))


def own_labels(config: Mapping[str, Any], folder: Path) -> LabelSet:
    """The label set of a checkpoint: as PocketEVA recorded it, or else nominal, unless its config asks for sigmoids."""
    if KEY in config:
        return CheckpointFacts.of_config(config, str(folder)).labels
    names = label_names(config) or tuple(map(str, range(num_outputs(config))))
    multilabel = config.get("problem_type") == "multi_label_classification"
    return LabelSet(names, "multilabel" if multilabel else "nominal")


def num_outputs(config: Mapping[str, Any]) -> int:
    """Outputs of a checkpoint's own head."""
    names = label_names(config)
    return len(names) if names else int(config.get("num_classes", config["pretrained_cfg"].get("num_classes")) or 0)


def own_args(config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The arguments of ``timm.create_model`` that a checkpoint asks for, for images of this size."""
    args = {**(config.get("model_args") or {}), **size_args(config["architecture"], size)}
    # timm writes down the arguments that a model was made with; the rate is chosen for each training.
    args.pop("drop_path_rate", None)
    # The checkpoint's own head, or its weights would not fit; a new head replaces it afterwards.
    return {**args, "num_classes": num_outputs(config)}


def _from_checkpoint(
    name: str, folder: Path, config: Mapping[str, Any], key: str, size: int, drop_path: float
) -> nn.Module:
    require_architecture(config["architecture"], key)
    state = read_weights(folder, key)
    require_rgb(name, key, config, state)
    architecture = config["architecture"]
    args = own_args(config, size)
    cfg = {**config["pretrained_cfg"], "num_classes": args["num_classes"], "custom_load": False, "state_dict": state}
    numbers = sum(tensor.numel() for tensor in state.values())
    shapes = on_meta(architecture, **args)
    if shapes is not None and count_weights(shapes) > 2 * numbers + _SPARE:
        raise UserError(
            f"{key}.model: {quoted(folder)} does not hold the weights of {architecture}: it has {numbers:,} numbers, "
            "and such a model has more than twice as many"
        )
    try:
        model: nn.Module = timm.create_model(
            architecture, pretrained=True, pretrained_cfg=cfg, **_drop_path(drop_path), **args
        )
        return model
    except (AssertionError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = _in_short(error)
        raise UserError(
            f"{key}.model: {quoted(folder)} does not hold the weights of {architecture}: {reason}"
        ) from error


def on_meta(architecture: str, **args: Any) -> nn.Module | None:
    """A timm model whose weights have shapes alone; null where only making them tells what is wrong with it."""
    try:
        with torch.device("meta"):
            model: nn.Module = timm.create_model(architecture, pretrained=False, **args)
    except Exception:  # noqa: BLE001 - models raise whatever their parts do, and building it says what is wrong
        return None
    return model


def count_weights(model: nn.Module) -> int:
    """Numbers in a model's parameters."""
    return sum(weight.numel() for weight in model.parameters())


def _drop_path(rate: float) -> dict[str, float]:
    """The argument, where it says something: not every architecture takes it."""
    return {"drop_path_rate": rate} if rate else {}
