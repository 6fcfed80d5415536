"""Facts of a checkpoint: what training recorded beside the weights. No torch here.

They stand under ``pocketeva`` in the checkpoint's ``config.json``, which cards and verification read too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from data.labels import LabelSet
from run.errors import UserError
from run.files import Json

Mode = Literal["head", "full", "probe_then_full"]
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
        # Facts that another version wrote beside these are left alone.
        known = {field.name for field in fields(cls)}
        stored = {name: value for name, value in config[KEY].items() if name in known}
        return cls(**{**stored, "labels": LabelSet.of_json(stored["labels"])})

    def to_json(self) -> dict[str, Json]:
        """The labels with their digest, and the facts that apply to the model."""
        role: dict[str, Json] = {"teacher": self.teacher} if self.mode is None else {"mode": self.mode}
        progress: dict[str, Json] = {} if self.epoch is None else {"epoch": self.epoch, "val_loss": self.val_loss}
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


def public_name(model: str) -> str:
    """A model's name as it may be published: a checkpoint's path is private, so it becomes an empty text."""
    is_path = model.startswith(("local-dir:", "/", "~", ".")) or model.count("/") > 1 or Path(model).is_dir()
    return "" if is_path else model


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a folder that timm, or transformers for a timm model, wrote.

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


def problem_type(labels: LabelSet) -> dict[str, Json]:
    """The config entry by which transformers takes a sigmoid of each logit, where that is right."""
    return {} if labels.exclusive else {"problem_type": "multi_label_classification"}
