"""Facts of a checkpoint: what training recorded beside the weights. No torch here.

They stand under ``pocketeva`` in the checkpoint's ``config.json``, which cards and verification read too.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from data.labels import LabelSet
from run.errors import UserError, quoted
from run.files import Json, json_of

Mode = Literal["head", "lora", "last_blocks", "full", "probe_then_full"]
"""``teacher.mode``."""

KEY = "pocketeva"
"""The entry of ``config.json`` that timm and transformers take no notice of."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """Everything that is recorded of a model besides its architecture and weights."""

    labels: LabelSet
    base_model: str = ""
    """The model that training started from, by its public name; empty for a folder of this machine."""
    pretrained: bool = False
    """Training started from that model's weights, not from random ones."""
    temperature: float = 1.0
    """Divides the logits already: it is in the last layer's weights."""
    uncalibrated: str | None = None
    """Reason why no temperature was fitted, as the end of a sentence about the model; null where one was."""
    mode: Mode | None = None
    """``teacher.mode``; null for a student."""
    teacher: str | None = None
    """Digest of the weights that taught a student; null for a teacher, and where the labels alone taught."""
    epoch: int | None = None
    """Of a checkpoint published while training goes on."""
    val_loss: float | None = None
    """Its validation loss."""

    @classmethod
    def read(cls, folder: Path) -> "CheckpointFacts":
        """The facts in a folder that ``models.checkpoint.save`` wrote.

        Raises:
            UserError: there is no ``config.json``, or another program wrote it.
        """
        return cls.of_config(read_config(folder), str(folder))

    @classmethod
    def of_config(cls, config: Mapping[str, Any], where: str) -> "CheckpointFacts":
        """The facts in the contents of a ``config.json``.

        Raises:
            UserError: another program wrote it; the message names ``where``.
        """
        if KEY not in config:
            raise UserError(f"{where} was not written by PocketEVA")
        try:
            # Facts that another version wrote beside these are left alone.
            found = TypeAdapter(cls).validate_python(config[KEY])
            LabelSet.of_json(found.labels.to_json())
        except ValueError as error:
            raise UserError(f"{where}: {KEY} in config.json makes no sense: {error}") from None
        return found

    def to_json(self) -> dict[str, Json]:
        """The labels with their digest, and the facts that apply to the model."""
        role: dict[str, Json] = {"teacher": self.teacher} if self.mode is None else {"mode": self.mode}
        progress: dict[str, Json] = {"epoch": self.epoch, "val_loss": self.val_loss}
        progress = {name: value for name, value in progress.items() if value is not None}
        return {
            "labels": self.labels.to_json(),
            "labels_digest": self.labels.digest,
            "base_model": self.base_model,
            "pretrained": self.pretrained,
            **role,
            "temperature": self.temperature,
            "uncalibrated": self.uncalibrated,
            **progress,
        }


def public_name(model: str, revision: str | None = None) -> str:
    """A model's name as it may be published: a checkpoint's path is private, so it becomes an empty text.

    Args:
        model: as in the config.
        revision: the commit that was read, which is named where the config does not pin one.
    """
    deep = model.partition("@")[0].count("/") > 1
    is_path = model.startswith(("local-dir:", "/", "~", ".")) or deep or Path(model).is_dir()
    if is_path:
        return ""
    return f"{model}@{revision}" if revision and "@" not in model else model


_TAKEN_CFG = """
input_size test_input_size min_input_size fixed_input_size interpolation crop_pct test_crop_pct crop_mode mean std
num_classes pool_size first_conv classifier
"""
"""Keys of ``pretrained_cfg`` that are taken from a checkpoint; others are left where they are. With some of them timm
would pass over the weights beside it and load another file, address or repository."""
_TAKEN_ARGS = """
num_classes img_size patch_size in_chans global_pool class_token reg_tokens no_embed_class pre_norm fc_norm embed_dim
embed_dims depth depths dims num_heads mlp_ratio qkv_bias qkv_fused qk_norm init_values ls_init_value window_size
dynamic_img_size dynamic_img_pad drop_rate pos_drop_rate patch_drop_rate proj_drop_rate attn_drop_rate drop_path_rate
act_layer norm_layer swiglu_mlp scale_mlp use_rot_pos_emb use_abs_pos_emb rope_type ref_feat_shape use_post_norm
head_hidden_size head_bias head_norm_first conv_mlp kernel_sizes layers channels widths stem_width stem_size
strict_img_size distillation channel_multiplier width depth_multiplier fix_stem num_features round_chs_fn se_from_exp
"""
"""Keys of ``model_args`` that are taken: the shape of a model, and rates."""
_LAYERS = ("depth", "depths", "layers")
_MOST_LAYERS = 1000
_MOST_CLASSES = 1_000_000
_CFG_KEYS = frozenset(_TAKEN_CFG.split())
_ARG_KEYS = frozenset(_TAKEN_ARGS.split())


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a folder that timm, or transformers for a timm model, wrote.

    Whoever made it may be a stranger: how a model looks is taken from it, and nothing that says where to load it from.

    Raises:
        UserError: it is missing, is no JSON, is not about a timm model, or has arguments that are not taken.
    """
    path = folder / "config.json"
    config = json_of(path, "a checkpoint folder has config.json and model.safetensors")
    if not isinstance(config, dict) or not config.keys() >= {"architecture", "pretrained_cfg"}:
        raise UserError(f"{quoted(path)} is not about a timm model: it has no architecture and pretrained_cfg")
    return {**config, **_harmless(config, path)}


def _harmless(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The parts of a config that ``timm.create_model`` is given, without what leads it elsewhere."""
    architecture = config["architecture"]
    cfg = config["pretrained_cfg"]
    args = config.get("model_args") or {}
    # A name with a scheme or a slash is an address to timm.
    if not isinstance(architecture, str) or not re.fullmatch(r"[\w.-]+", architecture, re.ASCII):
        raise UserError(f"{quoted(path)}: architecture {architecture!r} is no name of a timm model")
    if not isinstance(cfg, dict) or not isinstance(args, dict):
        raise UserError(f"{quoted(path)}: pretrained_cfg and model_args must be objects")
    strange = sorted(args.keys() - _ARG_KEYS)
    if strange:
        raise UserError(
            f"{quoted(path)}: model_args has {', '.join(map(repr, strange))}, which is not taken from a "
            "checkpoint: remove it if the model is the same without"
        )
    counts = [count for count in (config.get("num_classes"), cfg.get("num_classes")) if count is not None]
    if not all(isinstance(count, int) and 0 <= count <= _MOST_CLASSES for count in counts):
        raise UserError(f"{quoted(path)}: num_classes must be a number up to {_MOST_CLASSES:,}, not {counts}")
    plain = {key: value for key, value in args.items() if _is_plain(value)}
    # Layers are objects, made one by one: a million of them would take the memory before anything is compared.
    layers = [plain[key] if isinstance(plain[key], list) else [plain[key]] for key in _LAYERS if key in plain]
    many = sum(number for number in itertools.chain(*layers) if isinstance(number, int)) > _MOST_LAYERS
    if len(plain) < len(args) or many:
        raise UserError(f"{quoted(path)}: model_args has values that are no numbers, names or short lists of them")
    return {"pretrained_cfg": {key: cfg[key] for key in cfg if key in _CFG_KEYS}, "model_args": plain}


def _is_plain(value: object) -> bool:
    """True for a number, a name, null, or a list of some; no shape of a model is millions."""
    if isinstance(value, list):
        return len(value) <= 64 and all(map(_is_plain, value))
    if isinstance(value, str):
        return len(value) <= 64
    return value is None or (isinstance(value, int | float) and abs(value) <= 1_000_000)


def label_maps(labels: LabelSet) -> dict[str, Json]:
    """The config entries in which transformers and transformers.js look for names."""
    return {
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
    }


def problem_type(labels: LabelSet) -> dict[str, Json]:
    """The config entry by which transformers takes a sigmoid of each logit, where that is right."""
    return {} if labels.exclusive else {"problem_type": "multi_label_classification"}
